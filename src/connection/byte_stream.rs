//! What is below the frames of a connection: bytes in, bytes out, and the end. TCP and TLS are the first
//! two; whatever carries a WebSocket in another way (a stream of HTTP/2, RFC 8441) is one more.
//!
//! Dispatch is dynamic: a virtual call costs a nanosecond or two, and nearly every one ends in a system
//! call of several hundred.

use std::{fmt, io, net::SocketAddr, os::fd::BorrowedFd, sync::Arc, time::Duration};

use crate::system::{Native, System};

/// Whether a call may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No: it fails with [`io::ErrorKind::WouldBlock`] instead.
    NonBlocking,
    /// Yes, until it is done.
    Blocking,
    /// No, and the system may keep what is sent until more follows, or the end of our direction, so
    /// that both share a segment. Unless one of them follows, the caller calls [`ByteStream::push`].
    BeforeEnd,
}

/// The directions of a stream, as this side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the peer sends.
    Receiving,
    /// What this side sends.
    Sending,
    /// Both of them.
    Both,
}

/// The result of a send. An error comes with the number of bytes that were sent before it.
pub type SendResult = Result<(), (usize, io::Error)>;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Until there are bytes to read, or the end.
    Readable,
    /// Until there is room for bytes, or the end.
    Writable,
}

/// How to learn that a stream is ready.
#[derive(Clone, Copy)]
pub enum ReadinessSource<'a> {
    /// From the system, which watches this descriptor.
    Descriptor(BorrowedFd<'a>),
    /// From the stream itself.
    Stream(&'a dyn ReadinessNotifier),
}

impl fmt::Debug for ReadinessSource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(descriptor) => {
                formatter.debug_tuple("Descriptor").field(descriptor).finish()
            }
            Self::Stream(_) => formatter.write_str("Stream"),
        }
    }
}

/// What has changed about a stream without a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// There are bytes to read, or the end.
    pub readable: bool,
    /// There is room for bytes again, or there will be none.
    pub writable: bool,
    /// How much of the stream the peer has ended by now.
    pub end: PeerEnd,
}

/// Whether the peer has ended the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerEnd {
    /// No.
    #[default]
    Open,
    /// There will be no further news of input, so the caller must read to the end.
    Ended,
    /// The same, after an error: the peer will not read what is sent.
    Broken,
}

/// Receives the changes of a stream without a descriptor.
pub trait ReadinessListener: Send + Sync {
    /// Notes a change. The stream may be locked meanwhile, so it must not be called from here.
    fn changed(&self, change: Change);
}

/// A stream without a descriptor.
pub trait ReadinessNotifier {
    /// Registers a listener for as long as the stream exists.
    fn register(&self, listener: Arc<dyn ReadinessListener>);

    /// Waits until the stream is ready, at most for this time. Returns whether it is.
    fn wait(&self, readiness: Readiness, timeout: Duration) -> bool;

    /// Whether the peer has ended its direction, or the stream is broken, whatever is unread.
    fn has_ended(&self) -> bool;
}

/// A connected stream of bytes, used from any thread: one reader and one writer at a time.
pub trait ByteStream: Send + Sync {
    /// Reads into the spare capacity of `buffer`; 0 at the end of the stream.
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize>;

    /// Reads to the front of `target`; 0 at the end of the stream.
    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize>;

    /// Sends two pieces one after the other, if possible in one go. The number of bytes before an error
    /// counts those of both.
    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult;

    /// Sends what the system keeps of a send with [`Mode::BeforeEnd`].
    fn push(&self);

    /// Whether bytes that count as sent are still waiting for room.
    fn has_unsent(&self) -> bool;

    /// Whether the stream may hold received bytes that its [`ReadinessSource`] does not report. If it
    /// may not, a call that has received less than it had room for has read everything.
    fn buffers_input(&self) -> bool;

    /// The address of the other end, which may be that of a proxy; `None` if it has none.
    fn peer(&self) -> Option<SocketAddr>;

    /// Whether the bytes are encrypted.
    fn is_tls(&self) -> bool;

    /// Whether there are unread bytes.
    fn has_unread(&self) -> bool;

    /// Whether everything is read and the peer has ended its direction or reset the connection.
    fn is_peer_gone(&self) -> bool;

    /// Bytes received and sent so far, without the overhead of encryption.
    fn traffic(&self) -> (u64, u64);

    /// How many of the bytes that were sent the peer's system has taken, as far as that is known.
    fn taken(&self) -> u64 {
        let sent = self.traffic().1;
        match self.readiness() {
            ReadinessSource::Descriptor(socket) => {
                sent.saturating_sub(Native::untaken(socket).unwrap_or(0) as u64)
            }
            ReadinessSource::Stream(_) => sent,
        }
    }

    /// Ends our direction in an orderly way, behind what was sent.
    fn end_sending(&self);

    /// Ends directions at once. Threads that wait in a call wake up.
    fn shutdown(&self, direction: Direction);

    /// Resets the connection, and discards what is unsent. A stream that cannot do so while others use
    /// it does it when it is dropped.
    fn reset(&self);

    /// How to learn that the stream is ready.
    fn readiness(&self) -> ReadinessSource<'_>;

    /// Waits while the stream holds received bytes back from readers, as during a stall that the
    /// inspector has caused; at most for this time. Returns whether it still holds them back.
    fn withholds(&self, _timeout: Duration) -> bool {
        false
    }
}

// `Debug` is no supertrait, here and in the other traits of objects: it would keep the code that
// writes out all that the objects hold, which nothing calls, in the extension module.
impl fmt::Debug for dyn ByteStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ByteStream")
    }
}
