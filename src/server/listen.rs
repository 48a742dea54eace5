//! Listening sockets, accepting from them, and the running server.

pub(super) mod accept;
pub(super) mod late_records;
pub(super) mod listener;
pub(super) mod server;
pub(super) mod stream;
