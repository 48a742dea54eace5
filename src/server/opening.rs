//! From an accepted connection to its first request's answer: TLS, the request head, and the decision
//! who answers, a handler or the HTTP server.

pub(super) mod decision;
pub(super) mod serve;
