//! A message of a topic, why it may not be published, and the frames that are made of it.

use std::sync::Arc;

use super::name::NameError;
use crate::{
    connection::SharedFrame,
    protocol::{
        deflate::{DeflateLevel, MessageDeflater, PieceEnd, WindowBits},
        frame::Opcode,
    },
};

/// A message, as its publisher describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub opcode: Opcode,
    /// The message's bytes; those of a text in UTF-8.
    pub payload: &'a [u8],
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There can be no such topic.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The message is longer than a connection's queue.
    #[error(
        "a message of {size} bytes is longer than the queue of a connection for topics, which has \
         {limit} bytes (--topic-queue-bytes)"
    )]
    TooLong {
        /// Bytes of the message.
        size: usize,
        /// Bytes of the queue.
        limit: usize,
    },
}

/// How a connection compresses messages, if several connections can share the result: each message
/// begins with an empty window there (RFC 7692 7.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The size of the window.
    pub window: Option<WindowBits>,
    /// How hard to compress.
    pub level: DeflateLevel,
    /// Messages below this size are sent uncompressed.
    pub min_bytes: usize,
}

/// The parameters that make compressed messages differ.
type CompressedAs = (Option<WindowBits>, DeflateLevel);

/// The frames of one message, made when the first connection needs them.
pub(super) struct Frames<'a> {
    message: Message<'a>,
    plain: Option<Arc<SharedFrame>>,
    compressed: Vec<(CompressedAs, Arc<SharedFrame>)>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(message: Message<'a>) -> Self {
        Self { message, plain: None, compressed: Vec::new() }
    }

    /// The frame for a connection.
    pub(super) fn of(&mut self, compression: Option<Compression>) -> Arc<SharedFrame> {
        let Message { opcode, payload } = self.message;
        let size = payload.len();
        let Some(Compression { window, level, .. }) =
            compression.filter(|compression| size >= compression.min_bytes)
        else {
            let plain = || Arc::new(SharedFrame::new(opcode, payload, false, size));
            return self.plain.get_or_insert_with(plain).clone();
        };
        let compressed_as = (window, level);
        if let Some((_, frame)) = self.compressed.iter().find(|(known, _)| *known == compressed_as)
        {
            return frame.clone();
        }
        let mut output = Vec::new();
        MessageDeflater::with_level(window, true, level).deflate_into(
            payload,
            PieceEnd::Message,
            &mut output,
        );
        let frame = Arc::new(SharedFrame::new(opcode, &output, true, size));
        self.compressed.push((compressed_as, frame.clone()));
        frame
    }
}
