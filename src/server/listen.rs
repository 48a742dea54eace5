//! Listening sockets, accepting from them, and the running server.

pub(super) mod accept;
pub(super) mod listener;
pub(super) mod server;
pub(super) mod stream;
