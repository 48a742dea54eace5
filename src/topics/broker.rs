//! `Broker`: which connections have subscribed to which topic, and publishing.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex, OnceLock,
    },
    time::Duration,
};

use super::{
    backplane::{Backplane, BackplaneStatistics},
    delivery_thread::DeliveryThread,
    message::{Compression, Frames, Message, PublishError},
    name::{check_name, NameError},
    subscribers::{id_of, Subscriber, Subscribers},
};
use crate::{
    connection::{
        Delivery, Outbox, Pushed, ServerClose, SlowPolicy, Transport, DEFAULT_CLOSE_TIME,
    },
    locks::lock,
    protocol::{close::CloseCode, frame::MAX_UNMASKED_HEADER},
};

/// Up to so many subscribers get a message from the publisher's own thread; a message for more is sent
/// by the delivery thread. Measured on one machine: to send to one subscriber takes 4 to 5 µs, in which
/// the hub runs no other handler; to wake the delivery thread costs 7 to 10 µs once. For 16 subscribers
/// that is a tenth of the time, for 32 no difference was measured.
const AT_ONCE_MAX: usize = 16;

/// Beyond so many bytes in all, the delivery thread sends.
const AT_ONCE_BYTES: usize = 256 * 1024;

/// The reason in the close frame for a slow subscriber.
const SLOW_REASON: &str = "too slow for the topics";

/// What the operator may set.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// The most bytes that wait for one connection.
    pub queue_bytes: usize,
    /// What happens then.
    pub policy: SlowPolicy,
    /// Time that a peer has for answering the close frame for a slow subscriber.
    pub close_time: Option<Duration>,
}

/// A subscriber that has not got a message.
#[derive(Debug, Clone, Copy)]
pub struct SlowSubscriber {
    /// Its address.
    pub peer: Option<SocketAddr>,
    /// What was done.
    pub policy: SlowPolicy,
}

/// Numbers for the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Topics with subscribers.
    pub topics: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Messages that were published.
    pub published: u64,
    /// Messages that were handed to a connection.
    pub delivered: u64,
    /// Messages that a slow subscriber has not got.
    pub dropped: u64,
    /// Connections that were closed because they were slow.
    pub closed: u64,
}

/// Called for each message that a slow subscriber does not get.
type OnSlow = Box<dyn Fn(SlowSubscriber) + Send + Sync>;

/// The topics of one server.
pub struct Broker {
    settings: QueueSettings,
    /// The process that has the connections; a child that it forks has only copies.
    process: u32,
    state: Mutex<State>,
    delivery_thread: Arc<DeliveryThread>,
    on_slow: OnSlow,
    backplane: OnceLock<Arc<dyn Backplane>>,
    published: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    closed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Arc<str>, Subscribers>,
    /// The topics of each connection that has subscribed to some.
    subscriptions: HashMap<usize, HashSet<Arc<str>>>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Broker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without topics. `on_slow` is called for each message that a slow subscriber does not
    /// get, and must not block.
    pub fn new(
        settings: QueueSettings,
        on_slow: impl Fn(SlowSubscriber) + Send + Sync + 'static,
    ) -> Self {
        Self {
            settings,
            process: std::process::id(),
            state: Mutex::default(),
            delivery_thread: Arc::new(DeliveryThread::new(
                settings.close_time.unwrap_or(DEFAULT_CLOSE_TIME),
            )),
            on_slow: Box::new(on_slow),
            backplane: OnceLock::new(),
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    /// Whether this process was forked from that of the server, so that the connections are not its
    /// own and no lock may be taken.
    pub fn is_copy(&self) -> bool {
        std::process::id() != self.process
    }

    /// Carries messages to other servers from now on. Returns `false` if there is a backplane already.
    pub fn set_backplane(&self, backplane: Arc<dyn Backplane>) -> bool {
        self.backplane.set(backplane).is_ok()
    }

    /// Subscribes an open connection to a topic. Nothing happens if it has subscribed already, or has
    /// ended.
    ///
    /// # Errors
    /// If there can be no such topic, or the system has no thread to deliver messages; this is
    /// [`io::ErrorKind::InvalidInput`] for the former.
    pub fn subscribe(
        &self,
        transport: &Arc<Transport>,
        topic: &str,
        compression: Option<Compression>,
    ) -> io::Result<()> {
        check_name(topic).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.make_queue(transport)?;
        let mut state = lock(&self.state);
        // check while the lock is held: the thread that ends the connection unsubscribes it
        // afterwards
        if transport.closing().is_released() {
            return Ok(());
        }
        let own = state.subscriptions.entry(id_of(transport)).or_default();
        if own.contains(topic) {
            return Ok(());
        }
        let name: Arc<str> = topic.into();
        own.insert(name.clone());
        let subscribers = state.topics.entry(name).or_default();
        subscribers.add(Subscriber { transport: transport.clone(), compression });
        if subscribers.len() == 1 {
            if let Some(backplane) = self.backplane.get() {
                backplane.first_joined(topic);
            }
        }
        Ok(())
    }

    /// Gives a connection a queue for the messages of its topics, before its first subscription.
    ///
    /// # Errors
    /// If the system has no thread to deliver messages.
    pub fn make_queue(&self, transport: &Arc<Transport>) -> io::Result<()> {
        self.delivery_thread.start()?;
        let QueueSettings { queue_bytes, policy, .. } = self.settings;
        transport.set_outbox(|weak| {
            Outbox::new(queue_bytes, policy, self.delivery_thread.later_delivery(weak))
        });
        Ok(())
    }

    /// Ends a subscription. Messages that were published before still arrive.
    ///
    /// # Errors
    /// If there can be no such topic.
    pub fn unsubscribe(&self, transport: &Arc<Transport>, topic: &str) -> Result<(), NameError> {
        check_name(topic)?;
        let mut state = lock(&self.state);
        let Some(own) = state.subscriptions.get_mut(&id_of(transport)) else { return Ok(()) };
        let Some(name) = own.take(topic) else { return Ok(()) };
        if own.is_empty() {
            state.subscriptions.remove(&id_of(transport));
        }
        self.remove(&mut state, transport, &name);
        Ok(())
    }

    /// Ends all subscriptions of a connection that ends.
    pub fn unsubscribe_all(&self, transport: &Arc<Transport>) {
        if let Some(outbox) = transport.outbox().filter(|_| !self.is_copy()) {
            outbox.end();
            let mut state = lock(&self.state);
            for name in state.subscriptions.remove(&id_of(transport)).unwrap_or_default() {
                self.remove(&mut state, transport, &name);
            }
        }
    }

    fn remove(&self, state: &mut State, transport: &Arc<Transport>, name: &str) {
        let Some(subscribers) = state.topics.get_mut(name) else { return };
        if subscribers.remove(id_of(transport)) && subscribers.is_empty() {
            state.topics.remove(name);
            if let Some(backplane) = self.backplane.get() {
                backplane.last_left(name);
            }
        }
    }

    /// The number of subscribers, including those whose connections are about to end.
    pub fn subscribers_at_most(&self, topic: &str) -> usize {
        lock(&self.state).topics.get(topic).map_or(0, Subscribers::len)
    }

    /// The number of connections that get what is published to a topic now.
    ///
    /// # Errors
    /// If there can be no such topic.
    pub fn subscribers(&self, topic: &str) -> Result<usize, NameError> {
        check_name(topic)?;
        let subscribers = self.subscribers_of(topic);
        Ok(subscribers.iter().filter(|subscriber| is_open(&subscriber.transport)).count())
    }

    /// Publishes a message, and returns to how many connections it was handed. Does not wait for any
    /// of them.
    ///
    /// # Errors
    /// If there can be no such topic, or the message is too long for every connection.
    pub fn publish(
        &self,
        topic: &str,
        message: &Message<'_>,
        exclude: &[Arc<Transport>],
    ) -> Result<usize, PublishError> {
        check_name(topic)?;
        let (size, limit) = (message.payload.len(), self.settings.queue_bytes);
        if size.saturating_add(MAX_UNMASKED_HEADER) > limit {
            return Err(PublishError::TooLong { size, limit });
        }
        self.published.fetch_add(1, Ordering::Relaxed);
        if let Some(backplane) = self.backplane.get() {
            backplane.published(topic, message);
        }
        Ok(self.hand_out(topic, message, exclude))
    }

    /// Takes a message that was published elsewhere. Returns to how many connections it was handed; to
    /// none if it is longer than their queues.
    pub fn receive(&self, topic: &str, message: &Message<'_>) -> usize {
        self.hand_out(topic, message, &[])
    }

    fn subscribers_of(&self, topic: &str) -> Arc<Vec<Subscriber>> {
        lock(&self.state).topics.get(topic).map(Subscribers::list).unwrap_or_default()
    }

    fn hand_out(&self, topic: &str, message: &Message<'_>, exclude: &[Arc<Transport>]) -> usize {
        let subscribers = self.subscribers_of(topic);
        if subscribers.is_empty() {
            return 0;
        }
        let excluded: HashSet<usize> = exclude.iter().map(id_of).collect();
        let mut frames = Frames::new(*message);
        let bytes = message.payload.len().saturating_mul(subscribers.len());
        let by_thread = subscribers.len() > AT_ONCE_MAX || bytes > AT_ONCE_BYTES;
        let (mut due, mut handed, mut dropped) = (Vec::new(), 0, 0);
        for Subscriber { transport, compression } in subscribers.iter() {
            if !excluded.is_empty() && excluded.contains(&id_of(transport)) {
                continue;
            }
            let Some(outbox) = transport.outbox() else { continue };
            // another thread may still hold the sending half of one that has sent its close frame
            if !is_open(transport) {
                self.unsubscribe_all(transport);
                continue;
            }
            match outbox.push(&frames.of(*compression), by_thread) {
                Pushed::Queued { dropped: older, is_due } => {
                    handed += 1;
                    if older > 0 {
                        dropped += older;
                        self.note_slow(transport);
                    }
                    match (is_due, by_thread) {
                        (true, true) => due.push(transport.clone()),
                        (true, false) if transport.deliver() == Delivery::Ended => {
                            handed -= 1;
                            self.unsubscribe_all(transport);
                        }
                        _ => {}
                    }
                }
                Pushed::Dropped(count) => {
                    dropped += count;
                    self.note_slow(transport);
                }
                Pushed::TooSlow => {
                    dropped += 1;
                    self.close_slow(transport);
                }
                Pushed::Ended => self.unsubscribe_all(transport),
            }
        }
        if !due.is_empty() {
            self.delivery_thread.deliver(due);
        }
        self.delivered.fetch_add(handed as u64, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        handed
    }

    fn note_slow(&self, transport: &Transport) {
        (self.on_slow)(SlowSubscriber { peer: transport.peer(), policy: self.settings.policy });
    }

    fn close_slow(&self, transport: &Arc<Transport>) {
        self.unsubscribe_all(transport);
        self.closed.fetch_add(1, Ordering::Relaxed);
        self.note_slow(transport);
        if let Ok(server_close) = ServerClose::new(CloseCode::POLICY_VIOLATION, SLOW_REASON) {
            transport.go_away(&server_close);
        }
        // what was begun and the close frame behind it leave when the peer reads
        transport.deliver();
        self.delivery_thread.cut_later(transport);
    }

    /// Numbers for the operator.
    pub fn statistics(&self) -> Statistics {
        let state = lock(&self.state);
        let subscriptions = state.topics.values().map(Subscribers::len).sum();
        Statistics {
            topics: state.topics.len(),
            subscriptions,
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
        }
    }

    /// Numbers of the backplane, if there is one.
    pub fn backplane_statistics(&self) -> Option<BackplaneStatistics> {
        self.backplane.get().map(|backplane| backplane.statistics())
    }

    /// Ends the thread of the broker. Nothing is delivered any more.
    pub fn stop(&self) {
        self.delivery_thread.stop();
    }
}

/// Whether messages still go out on a connection.
fn is_open(transport: &Transport) -> bool {
    let closing = transport.closing();
    !(closing.is_sending_ended()
        || closing.is_going_away()
        || closing.is_cut()
        || closing.is_released())
}
