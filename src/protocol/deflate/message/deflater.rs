//! Compressing messages (RFC 7692 7.2.1).

use super::TAIL;
use crate::protocol::deflate::{compressor_pool, DeflateLevel, Flush, RawDeflater, WindowBits};

/// What ends with a piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceEnd {
    /// Nothing: the message goes on.
    Piece,
    /// The message.
    Message,
    /// The message, with a final block; the next one starts with an empty window (RFC 7692
    /// 7.2.3.4).
    FinalBlock,
}

/// Compresses the messages of one direction (RFC 7692 7.2.1).
#[derive(Debug)]
pub struct MessageDeflater {
    window: WindowBits,
    level: DeflateLevel,
    no_context_takeover: bool,
    stream: Option<RawDeflater>,
}

impl MessageDeflater {
    /// Compresses as pywebsocket does. Nothing is allocated until the first message.
    pub fn new(window: Option<WindowBits>, no_context_takeover: bool) -> Self {
        Self::with_level(window, no_context_takeover, DeflateLevel::PYWEBSOCKET)
    }

    /// Compresses at a level that the caller chooses.
    pub fn with_level(
        window: Option<WindowBits>,
        no_context_takeover: bool,
        level: DeflateLevel,
    ) -> Self {
        let window = window.unwrap_or(WindowBits::MAX);
        Self { window, level, no_context_takeover, stream: None }
    }

    /// As [`Self::deflate_into`], into a new vector.
    pub fn deflate(&mut self, piece: &[u8], ending: PieceEnd) -> Vec<u8> {
        let mut output = Vec::new();
        self.deflate_into(piece, ending, &mut output);
        output
    }

    /// Begins to compress a piece to the end of `output`; [`Self::deflate_into`] takes its rest.
    pub fn deflate_beginning(&mut self, beginning: &[u8], output: &mut Vec<u8>) {
        let mut stream = self.stream.take().unwrap_or_else(|| self.begin());
        stream.compress_into(beginning, Flush::None, output);
        self.stream = Some(stream);
    }

    /// Compresses a piece of a message to the end of `output`, which grows as
    /// [`RawDeflater::compress_into`] says.
    pub fn deflate_into(&mut self, piece: &[u8], ending: PieceEnd, output: &mut Vec<u8>) {
        let mut stream = self.stream.take().unwrap_or_else(|| self.begin());
        match ending {
            PieceEnd::Piece => stream.compress_into(piece, Flush::Sync, output),
            PieceEnd::Message => {
                stream.compress_into(piece, Flush::Sync, output);
                output.truncate(output.len().saturating_sub(TAIL.len()));
            }
            PieceEnd::FinalBlock => {
                stream.compress_into(piece, Flush::Finish, output);
                output.push(0x00);
            }
        }
        if self.no_context_takeover && ending != PieceEnd::Piece {
            return compressor_pool::give_back(stream);
        }
        if ending == PieceEnd::FinalBlock {
            stream.reset();
        }
        self.stream = Some(stream);
    }

    fn begin(&self) -> RawDeflater {
        if self.no_context_takeover {
            compressor_pool::take(self.window, self.level)
        } else {
            RawDeflater::with_level(self.window, self.level)
        }
    }
}
