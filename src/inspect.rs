//! Watches the connections of a server for its inspector: their frames, both heads of the opening
//! handshake, and faults on demand. No Python type, no HTTP.
//!
//! A connection is watched by a [`ByteStream`](crate::connection::ByteStream) around its socket, which
//! is there only if the server has an inspector. So a server without one does nothing for it, neither
//! per message nor per connection. What is kept is bounded by one number of bytes for all timelines.

mod heads;
mod inspector;
mod inspector_state;
mod latency;
mod pace;
mod reader;
mod tapped_stream;
#[cfg(test)]
mod tests;
mod timeline;
mod watched_connection;

pub use self::{
    heads::{Heads, WatchedRequest},
    inspector::{Inspector, Page, Query, SortKey, SortValue},
    latency::BUCKETS,
    pace::Pace,
    timeline::{Frame, Record, TimelineSlice},
    watched_connection::{Ended, WatchedConnection},
};
