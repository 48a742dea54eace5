//! Finds out which of many callers in one thread can go on: by the readiness of their sockets, and
//! by wake-ups from other threads.
//!
//! This uses mio and not a tokio runtime. `block_on` of a runtime learns that a socket is ready
//! only by a write to an event descriptor, and wakes up once more for that. With one busy
//! connection, that would be two more system calls for each message.

mod registration;
mod slot;
#[cfg(test)]
mod tests;
mod token;
mod wake_up;

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex},
    task::{Wake, Waker},
    time::Duration,
};

use mio::{unix::SourceFd, Events, Interest, Poll, Token};

pub use self::{registration::Registration, token::ReactorToken};
use self::{slot::Slot, wake_up::WakeUp};
use super::byte_stream::{ByteStream, Change, PeerEnd, ReadinessListener, ReadinessSource};
use crate::locks::lock;

/// A caller that may wait. Numbers are reused, so a caller that wakes up must check whether the
/// wake-up was meant for it.
pub type CallerId = u32;

/// The most events to take in one system call; others wait in the kernel.
const EVENTS: usize = 1024;

const WAKE: Token = Token(usize::MAX);
/// A descriptor that is not a connection's, see [`Reactor::watch_extra`].
const EXTRA: Token = Token(usize::MAX - 1);

/// Waits for sockets, in one thread.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<u32>,
    is_extra_readable: bool,
    remote: Arc<Remote>,
}

/// The part of a reactor that other threads use.
#[derive(Debug)]
pub struct Remote {
    registry: mio::Registry,
    waker: mio::Waker,
    wake_up: WakeUp,
    notifications: Mutex<Notifications>,
}

#[derive(Debug, Default)]
struct Notifications {
    woken: Vec<CallerId>,
    gone: Vec<ReactorToken>,
    /// Changes of streams without a descriptor.
    changes: Vec<(ReactorToken, Change)>,
}

impl Remote {
    /// Ends the current wait of the reactor, or the next one.
    pub fn wake(&self) {
        if self.wake_up.announce() {
            // writing to the event descriptor fails only when it is full, and then the reactor
            // wakes up as well
            let _ = self.waker.wake();
        }
    }

    /// A waker for a caller of this reactor, to be used from any thread.
    pub fn waker(self: &Arc<Self>, caller: CallerId) -> Waker {
        Waker::from(Arc::new(CallerWaker { remote: self.clone(), caller }))
    }

    fn notify(&self, what: impl FnOnce(&mut Notifications)) {
        what(&mut lock(&self.notifications));
        self.wake();
    }
}

struct CallerWaker {
    remote: Arc<Remote>,
    caller: CallerId,
}

impl Wake for CallerWaker {
    fn wake(self: Arc<Self>) {
        self.remote.notify(|notifications| notifications.woken.push(self.caller));
    }
}

/// Notes the changes of a stream without a descriptor.
struct StreamListener {
    remote: Arc<Remote>,
    token: ReactorToken,
}

impl ReadinessListener for StreamListener {
    fn changed(&self, change: Change) {
        self.remote.notify(|notifications| notifications.changes.push((self.token, change)));
    }
}

impl Reactor {
    /// A reactor that knows no socket.
    ///
    /// # Errors
    /// If the system has no descriptors for it.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let remote = Remote {
            registry: poll.registry().try_clone()?,
            waker: mio::Waker::new(poll.registry(), WAKE)?,
            wake_up: WakeUp::default(),
            notifications: Mutex::default(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            slots: Vec::new(),
            free: Vec::new(),
            is_extra_readable: false,
            remote: Arc::new(remote),
        })
    }

    /// The part of this reactor that other threads use.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Watches a socket from here on.
    ///
    /// # Errors
    /// If the system cannot watch it.
    pub fn register(&mut self, socket: &dyn ByteStream) -> io::Result<Registration> {
        let index = if let Some(index) = self.free.pop() {
            index
        } else {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).map_err(io::Error::other)?
        };
        let token = ReactorToken { index, generation: self.slots[index as usize].generation };
        match socket.readiness() {
            ReadinessSource::Descriptor(descriptor) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                let number = descriptor.as_raw_fd();
                let mut source = SourceFd(&number);
                let registry = self.poll.registry();
                if let Err(error) = registry.register(&mut source, token.token(), interest) {
                    self.free.push(index);
                    return Err(error);
                }
            }
            ReadinessSource::Stream(stream) => {
                let remote = self.remote.clone();
                stream.register(Arc::new(StreamListener { remote, token }));
                // it may be ready already: the first try tells
                let slot = &mut self.slots[index as usize];
                (slot.readable, slot.writable) = (true, true);
            }
        }
        Ok(Registration::new(token, self.remote.clone()))
    }

    /// Whether there may be something to read.
    pub fn is_readable(&self, token: ReactorToken) -> bool {
        self.slot(token).is_none_or(|slot| slot.readable || slot.has_ended())
    }

    /// Notes that everything was read, so that the socket is not readable before the next event.
    pub fn mark_drained(&mut self, token: ReactorToken) {
        if let Some(slot) = self.slot_mut(token) {
            slot.readable = false;
        }
    }

    /// Registers `caller` to be woken when there may be something to read. Returns `false` if there
    /// may be something already. A caller that was registered before is woken at once.
    pub fn wake_reader(&mut self, token: ReactorToken, caller: CallerId) -> bool {
        let Some(slot) = self.slot_mut(token) else { return false };
        if slot.readable || slot.has_ended() {
            return false;
        }
        let before = slot.reader.replace(caller).filter(|before| *before != caller);
        if let Some(before) = before {
            self.remote.notify(|notifications| notifications.woken.push(before));
        }
        true
    }

    /// Registers `caller` to be woken when the kernel accepts bytes again, after it has just
    /// refused some. Returns `false` if the caller should try again at once.
    pub fn wake_writer(&mut self, token: ReactorToken, caller: CallerId) -> bool {
        let Some(slot) = self.slot_mut(token) else { return false };
        if !std::mem::take(&mut slot.writable) {
            slot.writer = Some(caller);
            return true;
        }
        // there was an event since the last try, so the caller should try again
        false
    }

    /// Registers `caller` to be woken when the peer closes its direction, and when the connection
    /// breaks, perhaps later.
    pub fn watch_end(&mut self, token: ReactorToken, caller: CallerId) {
        let Some(slot) = self.slot_mut(token) else { return };
        slot.watcher = Some(caller);
        if slot.has_ended() {
            self.remote.notify(|notifications| notifications.woken.push(caller));
        }
    }

    /// Whether the peer has closed its direction, or the connection is broken.
    pub fn has_ended(&self, token: ReactorToken) -> bool {
        self.slot(token).is_none_or(Slot::has_ended)
    }

    /// Whether the connection is known to be broken: the peer will not read what is sent.
    pub fn is_broken(&self, token: ReactorToken) -> bool {
        self.slot(token).is_none_or(|slot| slot.peer_end == PeerEnd::Broken)
    }

    /// Ends waits also when a descriptor becomes readable that is not a connection's. It is reported
    /// once: until its owner finds nothing to read any more.
    ///
    /// # Errors
    /// If the system cannot watch it.
    pub fn watch_extra(&self, descriptor: RawFd) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&descriptor), EXTRA, Interest::READABLE)
    }

    /// Whether the descriptor of [`Self::watch_extra`] has become readable since the last call.
    pub fn take_extra_readable(&mut self) -> bool {
        std::mem::take(&mut self.is_extra_readable)
    }

    /// Prepares for waiting elsewhere until the descriptor of this reactor is readable: from now on
    /// other threads make it readable. Returns `false` if they have something for the reactor
    /// already.
    pub fn prepare_to_sleep(&self) -> bool {
        self.remote.wake_up.may_sleep()
    }

    /// A descriptor that is readable when [`Self::poll`] would find something.
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Adds to `woken` the callers that can go on. If there are none, waits for at most `timeout`.
    ///
    /// # Errors
    /// Those of the system's call.
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        woken: &mut impl Extend<CallerId>,
    ) -> io::Result<()> {
        let mut timeout = timeout;
        if timeout != Some(Duration::ZERO) && !self.remote.wake_up.may_sleep() {
            timeout = Some(Duration::ZERO);
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        self.remote.wake_up.stay_awake();
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &self.events {
            match event.token() {
                WAKE => continue,
                EXTRA => {
                    self.is_extra_readable = true;
                    continue;
                }
                _ => {}
            }
            let token = ReactorToken::of(event.token());
            let slot = self.slots.get_mut(token.index as usize);
            // the event is for an earlier socket of this slot
            let Some(slot) = slot.filter(|slot| slot.generation == token.generation) else {
                continue;
            };
            // if the peer has only ended its own direction, writing still works
            let is_over = event.is_error() || event.is_write_closed();
            if event.is_error() {
                wake(woken, slot.note_end(PeerEnd::Broken));
            } else if is_over || event.is_read_closed() {
                wake(woken, slot.note_end(PeerEnd::Ended));
            }
            if event.is_readable() || slot.has_ended() {
                slot.readable = true;
                wake(woken, slot.reader.take());
            }
            if event.is_writable() || is_over {
                slot.writable = true;
                wake(woken, slot.writer.take());
            }
        }
        self.take_notifications(woken);
        Ok(())
    }

    /// Adds to `woken` the callers that other threads have woken.
    pub fn take_notifications(&mut self, woken: &mut impl Extend<CallerId>) {
        if !self.remote.wake_up.take() {
            return;
        }
        let notifications = std::mem::take(&mut *lock(&self.remote.notifications));
        woken.extend(notifications.woken);
        for (token, change) in notifications.changes {
            let Some(slot) = self.slot_mut(token) else { continue };
            woken.extend(slot.note_end(change.end));
            if change.readable || change.end > PeerEnd::Open {
                slot.readable = true;
                woken.extend(slot.reader.take());
            }
            if change.writable {
                slot.writable = true;
                woken.extend(slot.writer.take());
            }
        }
        for token in notifications.gone {
            let Some(slot) = self.slot_mut(token) else { continue };
            woken.extend(slot.reader.take());
            woken.extend(slot.writer.take());
            *slot = Slot {
                generation: token.generation.wrapping_add(1) & GENERATIONS,
                ..Slot::default()
            };
            self.free.push(token.index);
        }
    }

    fn slot(&self, token: ReactorToken) -> Option<&Slot> {
        let slot = self.slots.get(token.index as usize)?;
        (slot.generation == token.generation).then_some(slot)
    }

    fn slot_mut(&mut self, token: ReactorToken) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.index as usize)?;
        (slot.generation == token.generation).then_some(slot)
    }
}

/// Adds the caller to `woken`, if there is one. Most events wake none of the callers that they could:
/// extending by nothing costs 20 instructions.
fn wake(woken: &mut impl Extend<CallerId>, caller: Option<CallerId>) {
    if let Some(caller) = caller {
        woken.extend([caller]);
    }
}

/// Generations stay below this, so that no token equals the two tokens that are no socket's.
const GENERATIONS: u32 = 0x7fff_ffff;
