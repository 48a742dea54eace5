//! Traffic over open connections, on one thread.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use mio::{Events, Poll};

use crate::{
    conn::{poll_once, Conn, Opened},
    frame::{client_frame, op, Decoder},
    message::Messages,
    process::now_ns,
    reply::{Counts, Progress, Replies, Window},
    report::Errors,
    sender::Sender,
};

const READ_BUFFER: usize = 256 * 1024;
/// Frames up to this size are gathered into one buffer of about [`GATHER`] bytes; larger ones are
/// written from where they are.
const SMALL: usize = 8 * 1024;
const GATHER: usize = 64 * 1024;

pub struct Worker<'a> {
    messages: &'a Messages,
    poll: Poll,
    events: Events,
    peers: Vec<Option<Box<Peer>>>,
    buffer: Vec<u8>,
    gather: Vec<u8>,
    pub counts: Counts,
    pub window: Window,
}

/// One open connection.
struct Peer {
    conn: Conn,
    sender: Sender,
    decoder: Decoder,
    progress: Progress,
}

impl<'a> Worker<'a> {
    pub fn new(messages: &'a Messages, poll: Poll, opened: Opened, errors: Errors) -> Self {
        let mut counts = Counts::new(errors);
        let mut peers = Vec::with_capacity(opened.conns.len());
        for conn in opened.conns {
            peers.push(conn.and_then(|conn| match Peer::new(conn, messages) {
                Ok(peer) => Some(Box::new(peer)),
                Err(error) => {
                    counts.errors.add(format!("{error:#}"));
                    None
                }
            }));
        }
        Self {
            messages,
            poll,
            events: Events::with_capacity(1024),
            peers,
            buffer: vec![0; READ_BUFFER],
            gather: Vec::with_capacity(GATHER + SMALL),
            counts,
            window: Window { from: 0, to: 0, refill: false },
        }
    }

    /// Number of connections, including those that failed.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Number of connections that still work.
    pub fn alive(&self) -> u64 {
        self.peers.iter().flatten().count() as u64
    }

    /// Whether any connection still works; the first one nearly always does.
    pub fn any_alive(&self) -> bool {
        self.peers.iter().any(Option::is_some)
    }

    /// The extensions of the first connection.
    pub fn extensions(&self) -> Option<String> {
        self.peers.iter().flatten().next().and_then(|peer| peer.conn.accepted.extensions.clone())
    }

    /// Handles what came in with the response.
    pub fn begin(&mut self, i: usize) {
        self.on_peer(i, |worker, peer| {
            let early = std::mem::take(&mut peer.conn.early);
            worker.take(peer, &early)?;
            worker.receive(peer, false)?;
            worker.send(peer)
        });
    }

    /// Sends `n` messages.
    pub fn send_messages(&mut self, i: usize, n: u32) {
        let now = now_ns();
        self.on_peer(i, |worker, peer| {
            peer.sender.waiting += u64::from(n);
            peer.progress.sent.extend((0..n).map(|_| now));
            worker.send(peer)
        });
    }

    /// Waits for events and handles them; false if there were none.
    pub fn turn(&mut self, timeout: Duration) -> Result<bool> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        poll_once(&mut self.poll, &mut events, timeout)?;
        for event in &events {
            self.on_peer(event.token().0, |worker, peer| {
                if event.is_readable() || event.is_read_closed() {
                    worker.receive(peer, event.is_read_closed())?;
                }
                worker.send(peer)
            });
        }
        let busy = !events.is_empty();
        self.events = events;
        Ok(busy)
    }

    /// Turns until everything is answered, or until `deadline`.
    pub fn drain(&mut self, deadline: u64) -> Result<()> {
        while self.outstanding() > 0 && now_ns() < deadline {
            self.turn(Duration::from_millis(20))?;
        }
        self.counts.unanswered += self.outstanding();
        Ok(())
    }

    /// Messages sent and not yet answered.
    fn outstanding(&self) -> u64 {
        self.peers.iter().flatten().map(|peer| peer.progress.sent.len() as u64).sum()
    }

    /// Sends a close frame on every connection, waits a moment for the answers (how they are given
    /// is not looked at here) and closes.
    pub fn close_all(&mut self) {
        let close = client_frame(op::CLOSE, false, &1000_u16.to_be_bytes());
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.sender.written == 0) {
            // A server that has gone in the meantime need not be told.
            let _ = peer.conn.sock.write(&close);
        }
        std::thread::sleep(Duration::from_millis(100));
        self.peers.clear();
    }

    /// Runs `action` on a peer, which is dropped if that fails.
    fn on_peer(&mut self, i: usize, action: impl FnOnce(&mut Self, &mut Peer) -> Result<()>) {
        let Some(mut peer) = self.peers[i].take() else { return };
        match action(self, &mut peer) {
            Ok(()) => self.peers[i] = Some(peer),
            Err(error) => {
                self.counts.errors.add(format!("{error:#}"));
                self.counts.unanswered += peer.progress.sent.len() as u64;
            }
        }
    }

    /// Reads what there is.
    fn receive(&mut self, peer: &mut Peer, to_end: bool) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let n = match peer.conn.sock.read(&mut buffer) {
                Ok(0) => break Err(anyhow::anyhow!("the server closed the connection")),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break Err(error).context("read"),
            };
            // Events are edge-triggered: after a short read the next bytes raise a new event.
            match self.take(peer, &buffer[..n]) {
                Ok(()) if n == buffer.len() || to_end => {}
                result => break result,
            }
        };
        self.buffer = buffer;
        result
    }

    /// Takes bytes just read from the socket.
    fn take(&mut self, peer: &mut Peer, bytes: &[u8]) -> Result<()> {
        let now = now_ns();
        let running = now < self.window.to;
        let measured = running && now >= self.window.from;
        if measured {
            self.counts.wire_bytes += bytes.len() as u64;
        }
        let mut replies = Replies {
            messages: self.messages,
            now,
            measured,
            refill: running && self.window.refill,
            counts: &mut self.counts,
            sender: &mut peer.sender,
            progress: &mut peer.progress,
        };
        peer.decoder.feed(bytes, &mut replies).map_err(anyhow::Error::msg)
    }

    /// Writes what is waiting, as far as the socket takes it.
    fn send(&mut self, peer: &mut Peer) -> Result<()> {
        loop {
            match self.write_some(peer) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("write"),
            }
        }
    }

    /// One write; false when there was nothing to write.
    fn write_some(&mut self, peer: &mut Peer) -> io::Result<bool> {
        let (sender, sock) = (&mut peer.sender, &mut peer.conn.sock);
        if sender.written == 0 && !sender.control.is_empty() {
            let n = sock.write(&sender.control)?;
            sender.control.drain(..n);
            return Ok(true);
        }
        if sender.waiting == 0 {
            return Ok(false);
        }
        let mut head = [0; 32];
        let n = if self.messages.frame_len(sender.next) > SMALL {
            let (head, rest) = self.messages.frame(peer.conn.id, sender.next, &mut head);
            let parts = match sender.written.checked_sub(head.len()) {
                Some(past_head) => [IoSlice::new(&[]), IoSlice::new(&rest[past_head..])],
                None => [IoSlice::new(&head[sender.written..]), IoSlice::new(rest)],
            };
            sock.write_vectored(&parts)?
        } else {
            self.gather.clear();
            let mut seq = sender.next;
            while seq < sender.next + sender.waiting && self.gather.len() < GATHER {
                let (head, rest) = self.messages.frame(peer.conn.id, seq, &mut head);
                self.gather.extend_from_slice(head);
                self.gather.extend_from_slice(rest);
                seq += 1;
            }
            sock.write(&self.gather[sender.written..])?
        };
        sender.wrote(n, self.messages);
        Ok(true)
    }
}

impl Peer {
    fn new(conn: Conn, messages: &Messages) -> Result<Self> {
        let progress = Progress::new(conn.id, conn.accepted.extensions.as_deref(), messages)?;
        Ok(Self { conn, sender: Sender::default(), decoder: Decoder::new(), progress })
    }
}
