//! From an accepted connection to its first request's answer: TLS, the request head, and the
//! decision whether a handler or the HTTP server answers.

pub(super) mod decision;
pub(super) mod hand_over;
pub(super) mod serve;
