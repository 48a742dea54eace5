//! What the server has to tell its operator, as data: Python makes log lines of it.
//!
//! tokio's threads never enter the interpreter, so events go through a bounded channel to one
//! thread that does. When it is full, events are counted instead of queued, and the count is told.

use std::{
    net::SocketAddr,
    sync::{
        atomic::{AtomicU64, AtomicU8, Ordering},
        mpsc::{sync_channel, Receiver, SyncSender, TrySendError},
    },
    time::Duration,
};

/// Enough for a burst of some thousand connections; about 1 MiB when full.
const CAPACITY: usize = 8192;

/// The end of the name of the logger that pywebsocket used for requests.
pub(super) const HANDLER_LOG: &str = "request_handler.WebSocketRequestHandler";

/// That of the one for the server.
pub const SERVER_LOG: &str = "websocket_server.WebSocketServer";

/// How important an event is; the numbers are those of Python's `logging` divided by ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For tracing.
    Debug = 1,
    /// Normal course.
    Info = 2,
    /// A peer did something odd.
    Warning = 3,
    /// Something does not work.
    Error = 4,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line for the log.
    Line {
        /// Importance.
        level: Level,
        /// The end of the logger's name, as pywebsocket had it.
        logger: &'static str,
        /// The line.
        text: String,
    },
    /// A request for a resource that no handler serves.
    NoHandler {
        /// The resource.
        resource: String,
        /// Whether it asked for a WebSocket connection.
        upgrade: bool,
    },
    /// A request for a WebSocket connection that came to no handler has been answered.
    Refused {
        /// Who asked; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// For what.
        resource: String,
        /// With this status.
        status: u16,
    },
    /// The server has ended: nothing comes after this.
    End,
    /// A handler has kept those that share its thread waiting.
    Stall {
        /// Its resource.
        resource: String,
        /// How long it has so far.
        taken: Duration,
    },
}

/// The sending end; cheap to ask whether anybody listens.
#[derive(Debug)]
pub struct EventSink {
    sender: SyncSender<Event>,
    least: AtomicU8,
    lost: AtomicU64,
}

impl EventSink {
    /// A channel that passes everything on.
    pub fn channel() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(CAPACITY);
        let least = AtomicU8::new(Level::Debug as u8);
        (Self { sender, least, lost: AtomicU64::new(0) }, receiver)
    }

    /// Drops what is less important than `level` (10 per step, as in Python's `logging`).
    pub fn set_level(&self, level: u8) {
        self.least.store(level.div_ceil(10), Ordering::Relaxed);
    }

    /// Whether an event of this level would be passed on.
    pub fn wants(&self, level: Level) -> bool {
        level as u8 >= self.least.load(Ordering::Relaxed)
    }

    /// Passes a line on if it is wanted.
    pub fn line(&self, level: Level, logger: &'static str, text: impl FnOnce() -> String) {
        if self.wants(level) {
            self.send(Event::Line { level, logger, text: text() });
        }
    }

    /// Passes an event on.
    pub fn send(&self, event: Event) {
        match self.sender.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many events were dropped since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// An address for a log line.
pub(super) fn describe(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.ip().to_string())
}
