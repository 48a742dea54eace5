//! fastwsh: a WebSocket server that runs pywebsocket handlers.
//!
//! Layers, imports go down only: [`protocol`] (sans I/O), `connection` (one connection of a server or a
//! client), `topics` (who gets which messages), `inspect` (watching connections), `server` and `client` (tokio, no Python types), and `python` (`PyO3`, no protocol rule).

#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
pub mod connection;
#[cfg(feature = "server")]
pub mod inspect;
#[cfg(feature = "server")]
mod locks;
#[cfg(feature = "server")]
mod os_error;
pub mod protocol;
#[cfg(feature = "server")]
mod runtime;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod sync;
#[cfg(feature = "server")]
mod system;
#[cfg(feature = "server")]
mod tls_error;
#[cfg(feature = "server")]
pub mod tls_files;
#[cfg(feature = "server")]
pub mod topics;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(feature = "python")]
mod python;
