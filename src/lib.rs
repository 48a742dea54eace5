//! fastwsh: a WebSocket server that runs pywebsocket handlers.
//!
//! Three layers, imports go down only: [`protocol`] (sans I/O), `server` (tokio, no Python types)
//! and `python` (`PyO3`, no protocol rule).

#[cfg(feature = "server")]
mod locks;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(feature = "python")]
mod python;
