//! The thread that delivers messages to many subscribers, and to those that must read first.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    connection::{CallerId, Delivery, Expiry, LaterDelivery, Reactor, Remote, Transport},
    locks::lock,
};

/// After so many deliveries the thread polls which connections have room again.
const DELIVERIES_PER_POLL: usize = 256;

/// The time between attempts for connections that the system cannot watch.
const RETRY: Duration = Duration::from_millis(20);

/// The thread. It starts with the first subscription, and sleeps while nothing is to be delivered.
#[derive(Debug)]
pub(super) struct DeliveryThread {
    inbox: Arc<Mutex<Inbox>>,
    close_time: Duration,
}

/// What other threads have for it.
#[derive(Debug, Default)]
struct Inbox {
    /// Set while the thread runs.
    remote: Option<Arc<Remote>>,
    has_stopped: bool,
    /// To be delivered. A connection is in here at most once, as its outbox remembers.
    due: VecDeque<Arc<Transport>>,
    /// To be watched until there is room. At most once as well.
    blocked: Vec<Arc<Transport>>,
    /// To be cut off, in the order of their time.
    closed: VecDeque<(Instant, Weak<Transport>)>,
}

impl Inbox {
    /// Wakes the thread.
    fn wake(&self) {
        if let Some(remote) = &self.remote {
            remote.wake();
        }
    }
}

impl DeliveryThread {
    pub(super) fn new(close_time: Duration) -> Self {
        Self { inbox: Arc::default(), close_time }
    }

    /// Starts the thread, unless it runs or has been stopped.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut inbox = lock(&self.inbox);
        if inbox.remote.is_some() || inbox.has_stopped {
            return Ok(());
        }
        let reactor = Reactor::new()?;
        inbox.remote = Some(reactor.remote().clone());
        let mut worker = Worker {
            inbox: self.inbox.clone(),
            reactor,
            watched: HashMap::new(),
            unwatched: Vec::new(),
            close_time: self.close_time,
        };
        let spawned = thread::Builder::new()
            .name("fastwsh-topics".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || while worker.run() {});
        if spawned.is_err() {
            inbox.remote = None;
        }
        spawned.map(drop)
    }

    /// Has this thread deliver to a connection when its peer has read.
    pub(super) fn later_delivery(&self, transport: Weak<Transport>) -> Box<dyn LaterDelivery> {
        Box::new(ConnectionDelivery { inbox: self.inbox.clone(), transport })
    }

    /// Delivers to many connections.
    pub(super) fn deliver(&self, due: Vec<Arc<Transport>>) {
        let mut inbox = lock(&self.inbox);
        if !inbox.has_stopped {
            inbox.due.extend(due);
            inbox.wake();
        }
    }

    /// Cuts off a connection if it has not ended in time.
    pub(super) fn cut_later(&self, transport: &Arc<Transport>) {
        let mut inbox = lock(&self.inbox);
        inbox.closed.push_back((Instant::now() + self.close_time, Arc::downgrade(transport)));
        inbox.wake();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        let mut inbox = lock(&self.inbox);
        inbox.has_stopped = true;
        inbox.due = VecDeque::new();
        inbox.blocked = Vec::new();
        inbox.wake();
    }
}

/// Has the thread deliver to one connection.
#[derive(Debug)]
struct ConnectionDelivery {
    inbox: Arc<Mutex<Inbox>>,
    transport: Weak<Transport>,
}

impl LaterDelivery for ConnectionDelivery {
    fn deliver_when_writable(&self) {
        let Some(transport) = self.transport.upgrade() else { return };
        let mut inbox = lock(&self.inbox);
        if !inbox.has_stopped {
            inbox.blocked.push(transport);
            inbox.wake();
        }
    }
}

/// The state of the thread.
struct Worker {
    inbox: Arc<Mutex<Inbox>>,
    reactor: Reactor,
    /// Connections that wait for room, by their place in the reactor.
    watched: HashMap<CallerId, Weak<Transport>>,
    /// Connections that wait for room and cannot be watched.
    unwatched: Vec<Weak<Transport>>,
    close_time: Duration,
}

impl Worker {
    /// Delivers what is due, and waits until there is more; `false` at the end.
    fn run(&mut self) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.has_stopped {
            return false;
        }
        let count = inbox.due.len().min(DELIVERIES_PER_POLL);
        let due: Vec<_> = inbox.due.drain(..count).collect();
        let blocked = std::mem::take(&mut inbox.blocked);
        let has_more = !inbox.due.is_empty();
        let now = Instant::now();
        let mut overdue = Vec::new();
        while inbox.closed.front().is_some_and(|(moment, _)| *moment <= now) {
            overdue.extend(inbox.closed.pop_front().and_then(|(_, transport)| transport.upgrade()));
        }
        let next_cut = inbox.closed.front().map(|(moment, _)| moment.duration_since(now));
        drop(inbox);
        for transport in overdue {
            self.cut(&transport);
        }
        for transport in &due {
            transport.deliver_in_thread();
        }
        for transport in &blocked {
            self.watch(transport);
        }
        let retry = (!self.unwatched.is_empty()).then_some(RETRY);
        let timeout =
            if has_more { Some(Duration::ZERO) } else { retry.into_iter().chain(next_cut).min() };
        drop((due, blocked));
        let mut woken = Vec::new();
        if self.reactor.poll(timeout, &mut woken).is_err() {
            // the system has no memory, perhaps: wait a little instead
            thread::sleep(RETRY);
        }
        for caller in woken {
            let transport = self.watched.remove(&caller).and_then(|transport| transport.upgrade());
            if let Some(transport) = transport {
                self.try_again(&transport);
            }
        }
        for transport in std::mem::take(&mut self.unwatched) {
            if let Some(transport) = transport.upgrade() {
                transport.deliver_in_thread();
            }
        }
        true
    }

    /// Delivers when there is room. If the connection is blocked again, it comes back by
    /// [`LaterDelivery::deliver_when_writable`].
    fn try_again(&self, transport: &Arc<Transport>) {
        if transport.deliver_in_thread() != Delivery::Blocked {
            transport.unwatch_writability(self.reactor.remote());
        }
    }

    fn watch(&mut self, transport: &Arc<Transport>) {
        let remote = self.reactor.remote().clone();
        let token = transport.watch_writability(&remote, |stream| self.reactor.register(stream));
        match token {
            Ok(token) => {
                self.watched.insert(token.number(), Arc::downgrade(transport));
                if !self.reactor.wake_writer(token, token.number()) {
                    self.watched.remove(&token.number());
                    self.try_again(transport);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(_) => self.unwatched.push(Arc::downgrade(transport)),
        }
    }

    /// Cuts a connection that was closed because it was slow and has not ended since.
    fn cut(&self, transport: &Transport) {
        if !transport.closing().is_released() && !transport.closing().is_close_received() {
            transport.expire(Expiry::Close(self.close_time));
            transport.cut();
        }
    }
}
