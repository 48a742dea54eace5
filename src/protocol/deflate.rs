//! permessage-deflate (RFC 7692): parameters, and messages through raw DEFLATE.
//!
//! A compressor takes 371 KiB with the default window of 15 bits, 307 with 14, 275 with 13, 259
//! with 12, 251 with 11, 247 with 10 and 245 with 9: 4 bytes for each byte of the window, and 243
//! KiB that flate2 does not let us reduce. A decompressor takes 46 KiB whatever the window
//! (measured: zlib-rs 0.6.8 through flate2 1.1.11; the level makes no difference). Both are
//! allocated when they are first needed, so that a silent connection with compression costs
//! nothing. With `no_context_takeover`, they are given back after every message.

mod compressor_pool;
mod level;
mod message;
mod offer;
mod stream;

pub use level::DeflateLevel;
pub use message::{Inflating, MessageDeflater, MessageInflater, PieceEnd};
pub use offer::{Agreement, Offer, WindowBits};
pub use stream::{Flush, RawDeflater, RawInflater};
