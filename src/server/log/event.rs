//! Events for the operator, as data: Python makes log lines of them.
//!
//! tokio's threads never enter the interpreter, so events go through a bounded channel to one
//! thread that does. When the channel is full, events are counted instead of queued, and the count
//! is logged later.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicU8, Ordering},
        mpsc::{sync_channel, Receiver, SyncSender, TrySendError},
        Mutex,
    },
    time::Duration,
};

use super::repeated::{and_more, RepeatedEvent};
use crate::{locks::lock, server::http::refusal::standard_reason};

/// Enough for a burst of some thousand connections; usually about 1 MiB when full.
const CAPACITY: usize = 8192;

/// The most bytes of an event's text, so that a full channel needs at most 16 MiB.
const MAX_TEXT: usize = 2048;

/// The most kinds of refusals to count separately; a server with many handlers has fewer.
const MAX_KINDS: usize = 1024;

/// The end of the name of the logger that pywebsocket used for requests.
pub(in crate::server) const HANDLER_LOG: &str = "request_handler.WebSocketRequestHandler";

/// The end of the name of the logger that pywebsocket used for its server.
pub const SERVER_LOG: &str = "websocket_server.WebSocketServer";

/// How important an event is; the numbers are those of Python's `logging` divided by ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details for tracing.
    Debug = 1,
    /// The normal course of things.
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
        /// The client; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// The requested resource.
        resource: String,
        /// The status of the answer.
        status: u16,
        /// Such as `HTTP/1.1`.
        http_version: String,
    },
    /// The server has ended: this is the last event.
    End,
    /// A handler has kept the other handlers of its thread waiting.
    Stall {
        /// The handler's resource.
        resource: String,
        /// How long the others have waited so far.
        taken: Duration,
    },
}

/// The sending end of the channel. Asking whether an event is wanted is cheap.
#[derive(Debug)]
pub struct EventSink {
    sender: SyncSender<Event>,
    least: AtomicU8,
    wants_refusals: AtomicBool,
    lost: AtomicU64,
    /// Refusals by status and handler; "" means no handler.
    refusals: Mutex<HashMap<(u16, String), RepeatedEvent>>,
}

impl EventSink {
    /// Creates a channel that passes on all events.
    pub fn channel() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(CAPACITY);
        let least = AtomicU8::new(Level::Debug as u8);
        let (wants_refusals, lost) = (AtomicBool::new(false), AtomicU64::new(0));
        let refusals = Mutex::default();
        (Self { sender, least, wants_refusals, lost, refusals }, receiver)
    }

    /// Drops events below `level` (10 per step, as in Python's `logging`).
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
            self.send(Event::Line { level, logger, text: shortened(text()) });
        }
    }

    /// Starts to pass on refusals, see [`Event::Refused`].
    pub fn want_refusals(&self) {
        self.wants_refusals.store(true, Ordering::Relaxed);
    }

    /// Passes on that a request for a WebSocket connection was refused, if that is wanted.
    pub fn refused(
        &self,
        peer: Option<SocketAddr>,
        resource: &str,
        status: u16,
        http_version: &str,
    ) {
        if self.wants_refusals.load(Ordering::Relaxed) {
            let resource = shortened(resource.to_owned());
            let http_version = shortened(http_version.to_owned());
            self.send(Event::Refused { peer, resource, status, http_version });
        }
    }

    /// Passes on a warning that a request was refused, and why, in pywebsocket's words. The first
    /// warning of a kind is passed on at once, others as [`RepeatedEvent`] decides.
    pub fn warn_refused(
        &self,
        peer: Option<SocketAddr>,
        status: u16,
        handler: &str,
        why: impl FnOnce() -> String,
    ) {
        if !self.wants(Level::Warning) {
            return;
        }
        let mut kinds = lock(&self.refusals);
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        let count = kinds.entry((status, handler.to_owned())).or_default().happened();
        drop(kinds);
        if let Some(count) = count {
            self.line(Level::Warning, HANDLER_LOG, || {
                let (peer, reason) = (describe(peer), standard_reason(status));
                let more = and_more(count);
                format!("{peer} - code {status}, message {reason}: {}{more}", shortened(why()))
            });
        }
    }

    /// Passes on that a resource has no handler.
    pub fn no_handler(&self, resource: &str, upgrade: bool) {
        self.send(Event::NoHandler { resource: shortened(resource.to_owned()), upgrade });
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

/// Text from a peer, cut to a length for the log: it may be as long as a request line.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
        text.shrink_to_fit();
    }
    text
}

/// An address for a log line.
pub(in crate::server) fn describe(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.ip().to_string())
}
