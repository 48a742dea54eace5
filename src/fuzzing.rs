//! What the fuzz targets check: invariants over arbitrary bytes of a peer.
//!
//! Each function takes the bytes of one input and panics if an invariant is broken. `fuzz` calls
//! them from libFuzzer, `tests/fuzz_replay.rs` with the corpus and mutations of it.

mod deflate;
mod frames;
mod heads;
mod messages;
mod proxies;

pub use self::{
    deflate::{deflate_offer, inflate},
    frames::{close_body, control_front, frame_header, raw_frames},
    heads::{extension_header, opening, request_head, request_target},
    messages::message_assembly,
    proxies::{forwarded_for, proxy_header},
};
#[cfg(feature = "server")]
pub use crate::server::{
    fuzzing::{body_framing, http_resource},
    http2_fuzzing::stream_head,
};
