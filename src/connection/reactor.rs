//! Which of many callers on one thread can go on: readiness of their sockets, and wake-ups from
//! elsewhere.
//!
//! mio and not a tokio runtime, whose `block_on` is not told that a socket is ready except by a
//! write to an event descriptor, and wakes once more for that: two system calls a message where one
//! connection is busy.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex,
    },
    task::{Wake, Waker},
    time::Duration,
};

use mio::{unix::SourceFd, Events, Interest, Poll, Token};

use super::socket::Socket;
use crate::locks::lock;

/// A caller that may wait. Numbers are used again: whoever is woken looks whether it was meant.
pub type CallerId = u32;

/// Events taken at a time; more wait in the kernel.
const EVENTS: usize = 1024;

const WAKE: Token = Token(usize::MAX);

/// Waits for sockets, on one thread.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<u32>,
    remote: Arc<Remote>,
}

/// What is known of one socket.
#[derive(Debug, Default)]
struct Slot {
    /// Tells an event for an earlier user of the slot.
    generation: u32,
    readable: bool,
    writable: bool,
    /// Nothing more will be told: reading must go on to the end.
    ended: bool,
    reader: Option<CallerId>,
    writer: Option<CallerId>,
    /// Who is told when the peer has gone.
    watcher: Option<CallerId>,
}

/// A socket's place in a reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReactorToken {
    index: u32,
    generation: u32,
}

impl ReactorToken {
    /// A number that no other socket of the reactor has meanwhile.
    pub fn number(self) -> u32 {
        self.index
    }

    fn token(self) -> Token {
        Token(((self.generation as usize) << 32) | self.index as usize)
    }

    fn of(token: Token) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "taken apart into its halves")]
        Self { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// Keeps a connection's place; given back when the connection ends.
#[derive(Debug)]
pub struct Registration {
    token: ReactorToken,
    remote: Arc<Remote>,
}

impl Registration {
    /// Where the socket is.
    pub fn token(&self) -> ReactorToken {
        self.token
    }

    pub(crate) fn is_in(&self, reactor: &Arc<Remote>) -> bool {
        Arc::ptr_eq(&self.remote, reactor)
    }

    /// The connection has ended. A socket that lives on must be given, to be watched no more.
    pub(crate) fn end(&self, socket: Option<&Arc<Socket>>) {
        if let Some(socket) = socket {
            // what cannot be taken out is thrown away when it comes
            let _ = self.remote.registry.deregister(&mut SourceFd(&socket.descriptor()));
        }
        self.remote.tell(|told| told.gone.push(self.token));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.remote.tell(|told| told.gone.push(self.token));
    }
}

/// The reactor as other threads see it.
#[derive(Debug)]
pub struct Remote {
    registry: mio::Registry,
    waker: mio::Waker,
    /// The reactor waits, or is about to: telling it something is not enough.
    asleep: AtomicBool,
    /// There is something in `told`.
    pending: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    woken: Vec<CallerId>,
    gone: Vec<ReactorToken>,
}

impl Remote {
    /// Ends the reactor's wait, or the next one: its thread has something to look at.
    pub fn call(&self) {
        self.pending.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // the event descriptor cannot fail but by overflow, which wakes as well
            let _ = self.waker.wake();
        }
    }

    /// A waker for a caller of this reactor, to be used from any thread.
    pub fn waker(self: &Arc<Self>, caller: CallerId) -> Waker {
        Waker::from(Arc::new(CallerWaker { remote: self.clone(), caller }))
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut lock(&self.told));
        self.call();
    }
}

struct CallerWaker {
    remote: Arc<Remote>,
    caller: CallerId,
}

impl Wake for CallerWaker {
    fn wake(self: Arc<Self>) {
        self.remote.tell(|told| told.woken.push(self.caller));
    }
}

impl Reactor {
    /// A reactor that knows no socket.
    ///
    /// # Errors
    /// If the system gives no descriptors for it.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let remote = Remote {
            registry: poll.registry().try_clone()?,
            waker: mio::Waker::new(poll.registry(), WAKE)?,
            asleep: AtomicBool::new(false),
            pending: AtomicBool::new(false),
            told: Mutex::default(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            slots: Vec::new(),
            free: Vec::new(),
            remote: Arc::new(remote),
        })
    }

    /// This reactor, for other threads.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Watches a socket from here on.
    ///
    /// # Errors
    /// If the system does not let it be watched.
    pub fn register(&mut self, socket: &Socket) -> io::Result<Registration> {
        let index = if let Some(index) = self.free.pop() {
            index
        } else {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).map_err(io::Error::other)?
        };
        let token = ReactorToken { index, generation: self.slots[index as usize].generation };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let descriptor = socket.descriptor();
        if let Err(error) =
            self.poll.registry().register(&mut SourceFd(&descriptor), token.token(), interest)
        {
            self.free.push(index);
            return Err(error);
        }
        Ok(Registration { token, remote: self.remote.clone() })
    }

    /// Whether there may be something to read.
    pub fn is_readable(&self, token: ReactorToken) -> bool {
        self.slot(token).is_none_or(|slot| slot.readable || slot.ended)
    }

    /// Everything was read that was there.
    pub fn mark_drained(&mut self, token: ReactorToken) {
        if let Some(slot) = self.slot_mut(token) {
            slot.readable = false;
        }
    }

    /// Wakes `caller` when there may be something to read; `false` if there may be by now. Who was
    /// to be woken before is woken now.
    pub fn wake_reader(&mut self, token: ReactorToken, caller: CallerId) -> bool {
        let Some(slot) = self.slot_mut(token) else { return false };
        if slot.readable || slot.ended {
            return false;
        }
        let before = slot.reader.replace(caller).filter(|before| *before != caller);
        if let Some(before) = before {
            self.remote.tell(|told| told.woken.push(before));
        }
        true
    }

    /// The kernel took no more bytes; wakes `caller` when it does again. `false` if the connection
    /// has ended.
    pub fn wake_writer(&mut self, token: ReactorToken, caller: CallerId) -> bool {
        let Some(slot) = self.slot_mut(token) else { return false };
        if !std::mem::take(&mut slot.writable) {
            slot.writer = Some(caller);
            return true;
        }
        // an event since the last look; the next try will tell
        false
    }

    /// Wakes `caller` when the peer has closed its direction, or the connection is broken; once.
    pub fn watch_end(&mut self, token: ReactorToken, caller: CallerId) {
        let Some(slot) = self.slot_mut(token) else { return };
        if slot.ended {
            self.remote.tell(|told| told.woken.push(caller));
        } else {
            slot.watcher = Some(caller);
        }
    }

    /// Whether the peer has closed its direction, or the connection is broken.
    pub fn has_ended(&self, token: ReactorToken) -> bool {
        self.slot(token).is_none_or(|slot| slot.ended)
    }

    /// About to wait elsewhere, for the descriptor of this reactor: from here on it is woken for
    /// what other threads tell it. `false` if they have told it something by now.
    pub fn prepare_to_sleep(&self) -> bool {
        self.remote.asleep.store(true, Ordering::SeqCst);
        !self.remote.pending.load(Ordering::SeqCst)
    }

    /// The descriptor that is readable when [`Self::poll`] has something to tell.
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Adds to `woken` who can go on, waiting for at most `timeout` if there is nobody yet.
    ///
    /// # Errors
    /// Those of the system's call.
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        woken: &mut impl Extend<CallerId>,
    ) -> io::Result<()> {
        let mut timeout = timeout;
        if timeout.is_none() {
            self.remote.asleep.store(true, Ordering::SeqCst);
            if self.remote.pending.load(Ordering::SeqCst) {
                timeout = Some(Duration::ZERO);
            }
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        self.remote.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &self.events {
            if event.token() == WAKE {
                continue;
            }
            let token = ReactorToken::of(event.token());
            let slot = self.slots.get_mut(token.index as usize);
            let Some(slot) = slot.filter(|slot| slot.generation == token.generation) else {
                continue;
            };
            let ended = event.is_error() || event.is_write_closed();
            slot.ended |= ended || event.is_read_closed();
            if slot.ended {
                woken.extend(slot.watcher.take());
            }
            if event.is_readable() || slot.ended {
                slot.readable = true;
                woken.extend(slot.reader.take());
            }
            if event.is_writable() || ended {
                slot.writable = true;
                woken.extend(slot.writer.take());
            }
        }
        self.take_told(woken);
        Ok(())
    }

    /// Adds to `woken` whom other threads have woken.
    pub fn take_told(&mut self, woken: &mut impl Extend<CallerId>) {
        if !self.remote.pending.load(Ordering::Relaxed) {
            return;
        }
        self.remote.pending.swap(false, Ordering::SeqCst);
        let told = std::mem::take(&mut *lock(&self.remote.told));
        woken.extend(told.woken);
        for token in told.gone {
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

/// Generations stay below what would make a token the one for wake-ups.
const GENERATIONS: u32 = 0x7fff_ffff;
