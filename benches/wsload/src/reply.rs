//! Replies: verified as they come in, counted, and answered with the next message.

use std::collections::VecDeque;

use anyhow::{bail, Context, Result};
use flate2::{Decompress, FlushDecompress, Status};

use crate::{
    frame::{client_frame, op, Sink},
    message::Messages,
    report::{Errors, Latency},
    sender::Sender,
};

/// When to count, in the time of [`crate::process::now_ns`].
#[derive(Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub to: u64,
    /// Answer each reply with a new message while the window lasts.
    pub refill: bool,
}

/// What is counted: what comes in while the [`Window`] lasts, and every error.
pub struct Counts {
    pub messages: u64,
    pub wire_bytes: u64,
    pub compressed: u64,
    pub unanswered: u64,
    pub latency: Latency,
    pub errors: Errors,
}

impl Counts {
    pub fn new(errors: Errors) -> Self {
        Self {
            messages: 0,
            wire_bytes: 0,
            compressed: 0,
            unanswered: 0,
            latency: Latency::new(),
            errors,
        }
    }
}

/// How far the replies on one connection are.
pub struct Progress {
    conn: u32,
    inflate: Option<Decompress>,
    /// The message whose reply is coming in, and how much of it has.
    seq: u64,
    offset: usize,
    compressed: bool,
    /// When messages were sent whose replies are awaited.
    pub sent: VecDeque<u64>,
}

impl Progress {
    /// `extensions` is what the server agreed to.
    pub fn new(conn: u32, extensions: Option<&str>, messages: &Messages) -> Result<Self> {
        let deflate = match extensions {
            Some(answer) if answer.starts_with("permessage-deflate") => {
                check_window(answer, messages.payload_len())?;
                true
            }
            Some(other) => bail!("unexpected extension {other}"),
            None => false,
        };
        if messages.is_deflate() && !deflate {
            bail!("the server declined permessage-deflate");
        }
        Ok(Self {
            conn,
            inflate: deflate.then(|| Decompress::new(false)),
            seq: 0,
            offset: 0,
            compressed: false,
            sent: VecDeque::new(),
        })
    }
}

/// Messages are compressed in advance with the largest window; a server that wants a smaller one gets
/// nothing that reaches further back than a message.
fn check_window(answer: &str, payload_len: usize) -> Result<()> {
    let mut parameters = answer.split(';').map(str::trim);
    let bits = parameters.find_map(|one| one.strip_prefix("client_max_window_bits="));
    if let Some(bits) = bits {
        let bits: u32 = bits.trim_matches('"').parse().context("client_max_window_bits")?;
        if 1_usize.checked_shl(bits).is_some_and(|window| payload_len > window) {
            bail!("client_max_window_bits={bits} is too small for messages of {payload_len} bytes");
        }
    }
    Ok(())
}

/// What is done with replies that come in at one moment on one connection.
pub struct Replies<'a> {
    pub messages: &'a Messages,
    pub now: u64,
    pub measured: bool,
    pub refill: bool,
    pub counts: &'a mut Counts,
    pub sender: &'a mut Sender,
    pub progress: &'a mut Progress,
}

impl Replies<'_> {
    fn check(&mut self, chunk: &[u8]) -> Result<(), &'static str> {
        let progress = &mut *self.progress;
        if !self.messages.matches(progress.conn, progress.seq, progress.offset, chunk) {
            return Err("a reply differs from what was sent");
        }
        progress.offset += chunk.len();
        Ok(())
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<(), &'static str> {
        let mut output = [0; 8192];
        loop {
            let inflate =
                self.progress.inflate.as_mut().ok_or("a compressed message, but no extension")?;
            let (taken, given) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(input, &mut output, FlushDecompress::Sync)
                .map_err(|_| "a reply does not inflate")?;
            input = &input[(inflate.total_in() - taken) as usize..];
            let given = (inflate.total_out() - given) as usize;
            if status == Status::StreamEnd {
                // A final block: whatever comes next starts afresh.
                inflate.reset(false);
            }
            self.check(&output[..given])?;
            if given < output.len() && (input.is_empty() || status != Status::Ok) {
                return Ok(());
            }
        }
    }
}

impl Sink for Replies<'_> {
    fn begin(&mut self, _opcode: u8, rsv1: bool) -> Result<(), &'static str> {
        self.progress.compressed = rsv1;
        Ok(())
    }

    fn data(&mut self, chunk: &[u8]) -> Result<(), &'static str> {
        if self.progress.compressed {
            self.inflate(chunk)
        } else {
            self.check(chunk)
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        if self.progress.compressed {
            self.inflate(&[0, 0, 0xFF, 0xFF])?;
        }
        let progress = &mut *self.progress;
        if progress.offset != self.messages.payload_len() {
            return Err("a reply is shorter than what was sent");
        }
        let sent = progress.sent.pop_front().ok_or("more replies than messages")?;
        if self.refill {
            self.sender.waiting += 1;
            progress.sent.push_back(self.now);
        }
        if self.measured {
            self.counts.latency.record(self.now - sent);
            self.counts.messages += 1;
            self.counts.compressed += u64::from(progress.compressed);
        }
        progress.seq += 1;
        progress.offset = 0;
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), &'static str> {
        match opcode {
            op::PING => self.sender.control.extend(client_frame(op::PONG, false, payload)),
            op::CLOSE => return Err("the server sent a close frame"),
            _ => {}
        }
        Ok(())
    }
}
