//! The receive path: bytes in, messages and control frames out, or single frames.
//!
//! A reader parses only when it is called, and stops after the first event, so that the bytes after
//! it stay in the caller's buffer for the next reader. It can be called again after an error: it
//! then skips the offending frame, or the rest of the offending message.

mod direct;
mod first_frame;
mod header_rules;
mod single;
mod whole;

pub use self::{
    first_frame::{FirstFrame, NextReceived},
    whole::{Whole, WholePayload},
};

use super::{
    close::CloseCode,
    error::ProtocolError,
    fragment::Fragments,
    frame::{self, FrameHeader, FrameReader, Opcode},
    limits::{append, FrameLimits},
    mask::{self, MaskingKey},
    utf8::{BadUtf8, Validator},
};

/// What a reader accepts.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Servers expect masked frames, clients unmasked ones (RFC 6455 5.1).
    pub expect_masked: bool,
    /// Whether permessage-deflate gives RSV1 a meaning (RFC 7692 6).
    pub deflate: bool,
    /// Accept RSV1 on a continuation frame as well, as pywebsocket does. Text is then checked only
    /// when the message is complete, because a later frame may mark it as compressed.
    pub late_rsv1: bool,
    /// Limits on sizes.
    pub limits: FrameLimits,
}

/// A data message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub opcode: Opcode,
    /// Valid UTF-8 for a text that is not compressed.
    pub payload: Vec<u8>,
    /// Whether the payload must be inflated first (RFC 7692 7.2.2).
    pub compressed: bool,
}

/// What a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole data message.
    Message(Message),
    /// Wants a pong with the same payload.
    Ping(Vec<u8>),
    /// Answers a ping, or is unsolicited (RFC 6455 5.5.3).
    Pong(Vec<u8>),
    /// The body of a close frame, unparsed.
    Close(Vec<u8>),
}

/// Assembles messages.
#[derive(Debug)]
pub struct MessageReader {
    rules: Rules,
    fragments: Fragments,
    /// How many frames of the current message have been received.
    frames: u64,
    frame: Option<Current>,
    /// Payload of the data message so far.
    message: Vec<u8>,
    opcode: Opcode,
    compressed: bool,
    text: Validator,
    /// Payload of a control frame so far.
    control: Vec<u8>,
    /// The rest of the current data message is discarded.
    discard: bool,
    /// The opcode of the current message, if it has no meaning (RFC 6455 5.2).
    unknown: Option<Opcode>,
    /// The last header with a length in more octets than necessary.
    non_minimal: Option<FrameHeader>,
    /// Why the current frame is refused. The error is returned when the whole frame has been
    /// received, as in pywebsocket.
    refusal: Option<Box<ProtocolError>>,
    /// The frame that is being read for a caller that wants frames, not messages. Few
    /// callers do, and there may be many readers.
    single: Option<Box<FrameReader>>,
    /// The last single frame was refused, so that the next byte may be part of it.
    lost: bool,
}

/// The frame that is being received.
#[derive(Debug, Clone, Copy)]
struct Current {
    opcode: Opcode,
    fin: bool,
    masking_key: Option<MaskingKey>,
    remaining: u64,
    /// The position of the next payload byte relative to the masking key.
    offset: usize,
    /// The payload is skipped, because the frame itself was refused.
    skip: bool,
}

impl Current {
    /// Unmasks the next piece of the payload.
    fn unmask(&mut self, piece: &mut [u8]) {
        if let Some(key) = self.masking_key {
            mask::apply(piece, key, self.offset);
        }
        self.offset = (self.offset + piece.len()) % 4;
    }
}

impl MessageReader {
    /// A reader at the beginning of a stream.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            fragments: Fragments::default(),
            frames: 0,
            frame: None,
            message: Vec::new(),
            opcode: Opcode::TEXT,
            compressed: false,
            text: Validator::default(),
            control: Vec::new(),
            discard: false,
            unknown: None,
            non_minimal: None,
            refusal: None,
            single: None,
            lost: false,
        }
    }

    /// A header since the last call with a length in more octets than necessary. RFC 6455 5.2
    /// forbids that, but pywebsocket only warns.
    pub fn take_non_minimal(&mut self) -> Option<FrameHeader> {
        self.non_minimal.take()
    }

    /// Changes what is accepted from the next frame on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Changes how much is accepted from the next frame on.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.rules.limits = limits;
    }

    /// Takes bytes from the front of `input` up to and including the next event.
    ///
    /// `None` means that it needs more bytes, appended to those that it has left.
    ///
    /// # Errors
    /// If the peer has broken a rule. The reader can go on after it.
    pub fn poll(&mut self, input: &mut &[u8]) -> Result<Option<Event>, ProtocolError> {
        self.lost = false;
        loop {
            if self.frame.is_none() {
                match frame::take_header(input, self.rules.expect_masked)? {
                    None => return Ok(None),
                    Some(header) => self.begin(&header)?,
                }
            }
            let Some(mut current) = self.frame else { continue };
            let piece = frame::take(input, current.remaining);
            if let Some(event) = self.take_payload(&mut current, piece)? {
                return Ok(Some(event));
            }
            if current.remaining > 0 {
                return Ok(None);
            }
        }
    }

    /// The vector into which the payload of a data message may be read directly, and how much of it
    /// is missing.
    ///
    /// To be called only between `poll` calls that returned `None` and left nothing. The caller
    /// appends bytes to the vector, at most the given number, and then calls
    /// [`Self::payload_added`].
    pub fn payload_target(&mut self) -> Option<(&mut Vec<u8>, u64)> {
        let current = self.frame.as_ref()?;
        if current.skip || self.discard || current.opcode.is_control() {
            return None;
        }
        Some((&mut self.message, current.remaining))
    }

    /// Processes the bytes that were read into [`Self::payload_target`].
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn payload_added(&mut self, count: usize) -> Result<Option<Event>, ProtocolError> {
        let Some(mut current) = self.frame else { return Ok(None) };
        let from = self.message.len().saturating_sub(count);
        current.unmask(&mut self.message[from..]);
        self.data_came(&mut current, from)
    }

    /// How many bytes are needed at least, given what `poll` left of its input.
    pub fn wanted(&self, left: &[u8]) -> u64 {
        if let Some(current) = &self.frame {
            return current.remaining;
        }
        let idle = FrameReader::default();
        let single = self.single.as_deref().unwrap_or(&idle);
        single.wanted(left, self.rules.expect_masked)
    }

    fn begin(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        if !header.is_minimal() {
            self.non_minimal = Some(*header);
        }
        let discarding = self.discard;
        let verdict = self.check_header(header);
        self.frame = Some(Current {
            opcode: header.opcode,
            fin: header.fin,
            masking_key: header.masking_key,
            remaining: header.length,
            offset: 0,
            // skip the payload if only the frame is refused, not the whole message
            skip: verdict.is_err() && self.discard == discarding,
        });
        // refuse at once a frame that is longer than a message may be: its end may never come
        let is_endless = self.rules.limits.check_frame(header.length).is_err();
        match verdict {
            Err(error) if is_endless || error.close_code() == CloseCode::TOO_BIG => Err(error),
            verdict => {
                self.refusal = verdict.err().map(Box::new);
                Ok(())
            }
        }
    }

    fn take_payload(
        &mut self,
        current: &mut Current,
        piece: &[u8],
    ) -> Result<Option<Event>, ProtocolError> {
        // refused payload is counted and thrown away. Control frames are handled even between the
        // frames of a message that is discarded.
        if current.skip || (self.discard && !current.opcode.is_control()) {
            current.remaining -= piece.len() as u64;
            self.frame = Some(*current);
            if current.remaining == 0 {
                self.passed_over(current);
                // as in pywebsocket, the error comes after the frame, so that the next call reads
                // the next frame
                if let Some(refusal) = self.refusal.take() {
                    return Err(*refusal);
                }
                if let Some(opcode) = self.unknown.take_if(|_| !self.discard) {
                    return Err(ProtocolError::ReservedOpcode(opcode.value()));
                }
            }
            return Ok(None);
        }
        if current.opcode.is_control() {
            return Ok(self.take_control(current, piece));
        }
        let from = self.message.len();
        if let Err(error) = append(&mut self.message, piece) {
            self.give_up_message();
            return Err(error);
        }
        current.unmask(&mut self.message[from..]);
        self.data_came(current, from)
    }

    /// Takes payload of a control frame, and returns the frame when it is complete.
    fn take_control(&mut self, current: &mut Current, piece: &[u8]) -> Option<Event> {
        let from = self.control.len();
        self.control.extend_from_slice(piece);
        current.unmask(&mut self.control[from..]);
        current.remaining -= piece.len() as u64;
        if current.remaining > 0 {
            self.frame = Some(*current);
            return None;
        }
        self.frame = None;
        let payload = std::mem::take(&mut self.control);
        Some(match current.opcode {
            Opcode::PING => Event::Ping(payload),
            Opcode::PONG => Event::Pong(payload),
            _ => Event::Close(payload),
        })
    }

    /// Handles data that stands unmasked in the message from byte `from` on.
    fn data_came(
        &mut self,
        current: &mut Current,
        from: usize,
    ) -> Result<Option<Event>, ProtocolError> {
        current.remaining = current.remaining.saturating_sub((self.message.len() - from) as u64);
        self.frame = Some(*current);
        if self.opcode == Opcode::TEXT && !self.compressed {
            let ends = current.remaining == 0 && current.fin;
            if let Err(bad) = self.check_text(from, ends) {
                // the exception shows the text so far; the rest of the message will be skipped
                let text = self.give_up_message();
                if current.remaining == 0 {
                    self.passed_over(current);
                }
                return Err(ProtocolError::BadText {
                    text,
                    valid_up_to: bad.valid_up_to,
                    mid_frame: current.remaining > 0,
                });
            }
        }
        if current.remaining > 0 {
            return Ok(None);
        }
        // the frame is complete; the message only with its last frame
        self.frame = None;
        if !current.fin {
            return Ok(None);
        }
        Ok(Some(Event::Message(Message {
            opcode: self.opcode,
            payload: std::mem::take(&mut self.message),
            compressed: self.compressed,
        })))
    }

    /// Checks the text from byte `from` on, as it comes. If a later frame may still say that the
    /// message is compressed, checks all of it when it ends.
    fn check_text(&mut self, from: usize, ends: bool) -> Result<(), BadUtf8> {
        let is_late = self.rules.deflate && self.rules.late_rsv1;
        if is_late && !ends {
            return Ok(());
        }
        let from = if is_late { 0 } else { from };
        self.text.push(&self.message[from..])?;
        if ends {
            self.text.finish()?;
        }
        Ok(())
    }

    /// Drops the message, and makes the reader skip its remaining frames.
    fn give_up_message(&mut self) -> Vec<u8> {
        self.discard = true;
        self.text = Validator::default();
        std::mem::take(&mut self.message)
    }

    fn passed_over(&mut self, current: &Current) {
        self.frame = None;
        if current.fin && !current.skip {
            self.discard = false;
        }
    }
}

#[cfg(test)]
mod tests;
