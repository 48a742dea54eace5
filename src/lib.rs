//! fastwsh: a WebSocket server that runs pywebsocket handlers.
//!
//! Layers, imports go down only: [`protocol`] (sans I/O), `server` (tokio, no Python types),
//! `client` (connecting, over `server`'s sockets) and `python` (`PyO3`, no protocol rule).

#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
mod locks;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(feature = "python")]
mod python;
