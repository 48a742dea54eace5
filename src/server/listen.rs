//! Listening sockets, and accepting from them.

pub(super) mod accept;
pub(super) mod listener;
pub(super) mod stream;
