//! Finds the frames in the bytes of one direction, whatever they are: nothing is refused here.

use crate::protocol::{
    deflate::RawInflater,
    frame::{Decoded, FrameHeader, Opcode, MAX_HEADER, RSV1},
    mask,
};

use super::timeline::Frame;

/// The most of a payload that is kept.
pub(super) const KEPT_BYTES: usize = 64 * 1024;

/// The most that a message is decompressed to here. The handler has a limit of its own.
const INFLATED_MAX: u64 = 16 << 20;

/// Bytes that are decompressed at a time.
const STEP: usize = 16 * 1024;

/// The empty block at the end of a message that its sender has removed (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The frames of one direction.
#[derive(Debug)]
pub(super) struct Reader {
    received: bool,
    header: Vec<u8>,
    /// The position of the current header among all bytes that were sent.
    header_at: u64,
    current: Option<Current>,
    inflation: Inflation,
    /// No frames can be found any more.
    is_lost: bool,
}

#[derive(Debug)]
struct Current {
    header: FrameHeader,
    /// Payload bytes so far.
    seen: u64,
    frame: Frame,
    /// The beginning of the payload.
    data: Vec<u8>,
    is_compressed: bool,
}

/// The decompressor of one direction; the memory of one is tens of kilobytes.
#[derive(Debug, Default)]
enum Inflation {
    /// No message was compressed so far.
    #[default]
    Unused,
    Ready(Inflater),
    /// There was no memory for one, or it has met invalid data.
    Failed,
}

#[derive(Debug, Default)]
struct Inflater {
    stream: RawInflater,
    /// Whether the current message is compressed.
    is_inside: bool,
    /// The bytes of the current message.
    bytes: u64,
}

/// What a reader asks and tells the owner of the timeline.
pub(super) trait FrameObserver {
    /// Whether permessage-deflate was agreed to.
    fn has_deflate(&self) -> bool;

    /// Takes the memory for one more decompressor; `false` if there is none.
    fn take_decompressor(&self) -> bool;

    /// A frame is complete.
    fn frame(&self, frame: Frame);

    /// A frame begins at this position among all bytes. The result says whether it was sent from the
    /// inspector.
    fn frame_begins(&self, position: u64) -> bool;

    /// There are bytes that are no frames.
    fn frames_lost(&self, received: bool);
}

impl Reader {
    pub(super) fn new(received: bool) -> Self {
        let (header, current, inflation) = (Vec::new(), None, Inflation::Unused);
        Self { received, header, header_at: 0, current, inflation, is_lost: false }
    }

    /// Frees the decompressor, and returns whether there was one.
    pub(super) fn end(&mut self) -> bool {
        let inflation = std::mem::replace(&mut self.inflation, Inflation::Failed);
        matches!(inflation, Inflation::Ready(_))
    }

    /// Takes bytes that begin at a position among all that were sent.
    pub(super) fn feed_at(&mut self, start: u64, bytes: &[u8], observer: &impl FrameObserver) {
        let mut rest = bytes;
        // one frame after the other, so that the position of each header is known
        while !rest.is_empty() && !self.is_lost {
            if self.header.is_empty() && self.current.is_none() {
                self.header_at = start + (bytes.len() - rest.len()) as u64;
            }
            rest = self.step(rest, observer).0;
        }
    }

    /// Takes bytes. Returns the position behind the `stop_at`th data message that ends in them, if
    /// there are as many, and how many end before.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        stop_at: u64,
        observer: &impl FrameObserver,
    ) -> (Option<usize>, u64) {
        let (mut rest, mut messages) = (bytes, 0);
        while !rest.is_empty() && !self.is_lost {
            let (behind, has_ended) = self.step(rest, observer);
            rest = behind;
            messages += u64::from(has_ended);
            if has_ended && messages == stop_at {
                return (Some(bytes.len() - rest.len()), messages);
            }
        }
        (None, messages)
    }

    /// Takes bytes of a header, and behind it those of its payload, at most to the end of the frame.
    /// Returns the others, and whether a data message has ended.
    fn step<'a>(&mut self, bytes: &'a [u8], observer: &impl FrameObserver) -> (&'a [u8], bool) {
        let rest = if self.current.is_some() { bytes } else { self.read_header(bytes, observer) };
        let Some(current) = &mut self.current else { return (rest, false) };
        let left = usize::try_from(current.header.length - current.seen).unwrap_or(usize::MAX);
        let (payload, behind) = rest.split_at(left.min(rest.len()));
        current.take(payload, &mut self.inflation);
        (behind, self.finish(observer))
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], observer: &impl FrameObserver) -> &'a [u8] {
        let before = self.header.len();
        self.header.extend_from_slice(&bytes[..bytes.len().min(MAX_HEADER - before)]);
        let is_masked = self.header.get(1).is_some_and(|second| second & 0x80 != 0);
        match FrameHeader::decode(&self.header, is_masked) {
            Ok(Decoded::Header(header, length)) => {
                self.header.clear();
                self.begin(header, observer);
                &bytes[length - before..]
            }
            Ok(Decoded::Short(_)) => &[],
            Err(_) => {
                self.is_lost = true;
                observer.frames_lost(self.received);
                &[]
            }
        }
    }

    fn begin(&mut self, header: FrameHeader, observer: &impl FrameObserver) {
        let is_data = !header.opcode.is_control();
        let by_hand = !self.received && observer.frame_begins(self.header_at);
        let starts = is_data && header.opcode != Opcode::CONTINUATION;
        if starts {
            let compressed = header.reserved & RSV1 != 0 && observer.has_deflate();
            if compressed && matches!(self.inflation, Inflation::Unused) {
                self.inflation = if observer.take_decompressor() {
                    Inflation::Ready(Inflater::default())
                } else {
                    Inflation::Failed
                };
            }
            if let Inflation::Ready(inflater) = &mut self.inflation {
                (inflater.is_inside, inflater.bytes) = (compressed, 0);
            }
        }
        let is_compressed = match &self.inflation {
            Inflation::Ready(inflater) => is_data && inflater.is_inside,
            Inflation::Failed => is_data && header.reserved & RSV1 != 0 && observer.has_deflate(),
            Inflation::Unused => false,
        };
        let first = (u8::from(header.fin) << 7) | (header.reserved << 4) | header.opcode.value();
        let frame = Frame {
            received: self.received,
            first,
            masked: header.masking_key.is_some(),
            minimal: header.is_minimal(),
            wire: header.length,
            size: 0,
            opaque: is_compressed && matches!(self.inflation, Inflation::Failed),
            by_hand,
            data: Box::default(),
        };
        self.current = Some(Current { header, seen: 0, frame, data: Vec::new(), is_compressed });
    }

    /// Passes the current frame on if it is complete. Returns whether it has ended a data message.
    fn finish(&mut self, observer: &impl FrameObserver) -> bool {
        let Some(mut current) = self.current.take_if(|it| it.seen == it.header.length) else {
            return false;
        };
        let ends = current.header.fin && !current.header.opcode.is_control();
        if ends {
            if let (true, Inflation::Ready(inflater)) = (current.is_compressed, &mut self.inflation)
            {
                // a block with BFINAL has ended it already (RFC 7692 7.2.3.4)
                let has_ended = inflater.stream.is_fresh();
                if !has_ended && !current.inflate(&TAIL, inflater) {
                    self.inflation = Inflation::Failed;
                }
            }
            if let Inflation::Ready(inflater) = &mut self.inflation {
                inflater.is_inside = false;
            }
        }
        observer.frame(Frame { data: current.data.into_boxed_slice(), ..current.frame });
        ends
    }
}

impl Current {
    fn take(&mut self, payload: &[u8], inflation: &mut Inflation) {
        let offset = self.seen;
        self.seen += payload.len() as u64;
        let most = KEPT_BYTES.saturating_sub(self.data.len());
        let is_inflated = self.is_compressed && !self.frame.opaque;
        // what is not kept need not be unmasked, unless it must be decompressed
        let used = if is_inflated { payload } else { &payload[..payload.len().min(most)] };
        let mut plain = used.to_vec();
        if let Some(key) = self.header.masking_key {
            mask::apply(&mut plain, key, usize::try_from(offset % 4).unwrap_or_default());
        }
        if !is_inflated {
            self.frame.size += payload.len() as u64;
            self.keep(&plain);
        } else if let Inflation::Ready(inflater) = inflation {
            if !self.inflate(&plain, inflater) {
                *inflation = Inflation::Failed;
            }
        }
    }

    fn keep(&mut self, plain: &[u8]) {
        let most = KEPT_BYTES.saturating_sub(self.data.len());
        self.data.extend_from_slice(&plain[..plain.len().min(most)]);
    }

    /// Decompresses a piece. Returns `false` if that is not possible.
    fn inflate(&mut self, mut piece: &[u8], inflater: &mut Inflater) -> bool {
        let mut output = Vec::new();
        loop {
            output.clear();
            let result = inflater.stream.inflate(piece, &mut output, STEP);
            inflater.bytes += output.len() as u64;
            self.frame.size += output.len() as u64;
            self.keep(&output);
            let has_more = output.len() >= STEP;
            match result {
                Ok(left) if inflater.bytes <= INFLATED_MAX && (has_more || left.is_empty()) => {
                    piece = left;
                }
                _ => {
                    self.frame.opaque = true;
                    return false;
                }
            }
            if !has_more {
                return true;
            }
        }
    }
}
