//! The program's end of a WebSocket over HTTP/2: one end of a pair of sockets.
//!
//! The server has a byte stream in place of such pairs, since it has thousands of streams, whose
//! handlers write to a shared connection by themselves. A client opens a connection for each
//! WebSocket, and its background thread has to wake for that connection anyway, so a pair costs it
//! two descriptors and a copy. The server's type is bound to `h2::server`, in accepting, answering
//! and driving: the half that both could share is smaller than what would have to become generic.

use std::{
    io,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use tokio::sync::Notify;

use crate::connection::{ByteStream, Direction, Mode, PlainSocket, ReadinessSource, SendResult};

/// Tells the stream's task how the program has ended the connection: the bytes of a socket do not
/// show a reset, or that the process exits.
#[derive(Debug, Default)]
pub(super) struct EndSignal {
    is_ended: AtomicBool,
    is_reset: AtomicBool,
    changed: Notify,
    process_exit: Notify,
}

impl EndSignal {
    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }

    /// Waits until the program has ended both directions.
    pub(super) async fn ended(&self) {
        // one task waits, and the permit of a notification is kept for it
        while !self.is_ended.load(Ordering::SeqCst) {
            self.changed.notified().await;
        }
    }

    /// Notes that the process is about to exit.
    pub(super) fn note_process_exit(&self) {
        self.process_exit.notify_one();
    }

    /// Waits until the process is about to exit.
    pub(super) async fn process_exit(&self) {
        self.process_exit.notified().await;
    }

    fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }
}

/// One end of a pair of sockets; the other one belongs to the stream's task.
#[derive(Debug)]
pub(super) struct Http2Socket {
    socket: PlainSocket,
    is_tls: bool,
    ending: Arc<EndSignal>,
}

impl Http2Socket {
    pub(super) fn new(socket: PlainSocket, is_tls: bool, ending: Arc<EndSignal>) -> Self {
        Self { socket, is_tls, ending }
    }
}

impl Drop for Http2Socket {
    fn drop(&mut self) {
        self.ending.end();
    }
}

impl ByteStream for Http2Socket {
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        self.socket.receive(buffer, mode)
    }

    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        self.socket.receive_slice(target, mode)
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        self.socket.send(first, second, mode)
    }

    fn push(&self) {
        self.socket.push();
    }

    fn has_unsent(&self) -> bool {
        self.socket.has_unsent()
    }

    fn buffers_input(&self) -> bool {
        self.socket.buffers_input()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer()
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    fn is_peer_gone(&self) -> bool {
        self.socket.is_peer_gone()
    }

    fn traffic(&self) -> (u64, u64) {
        self.socket.traffic()
    }

    fn end_sending(&self) {
        self.socket.end_sending();
    }

    fn shutdown(&self, direction: Direction) {
        self.socket.shutdown(direction);
        if direction == Direction::Both {
            self.ending.end();
        }
    }

    fn reset(&self) {
        self.ending.is_reset.store(true, Ordering::SeqCst);
        self.ending.end();
        self.socket.reset();
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        self.socket.readiness()
    }
}
