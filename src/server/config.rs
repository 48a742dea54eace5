//! What a server is told when it is made: settings, and which resources have handlers.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::ServerConfig;

use super::{
    admission::client_address::Proxies,
    http::CgiConfig,
    limits::{ConnectionLimits, Keepalive},
};
use crate::protocol::uri;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Root of the files that the fallback serves.
    pub document_root: PathBuf,
    /// Files that the server uses itself: never served, whatever their names.
    pub private_files: Vec<PathBuf>,
    /// Whether files whose names begin with a dot are served.
    pub serve_dot_files: bool,
    /// What a peer may take.
    pub limits: ConnectionLimits,
    /// What is done for silent connections.
    pub keepalive: Keepalive,
    /// Who may tell whose connections they pass on.
    pub proxies: Proxies,
    /// The host that an absolute request target must name.
    pub validation_host: Option<String>,
    /// The port that an absolute request target must name.
    pub validation_port: Option<u16>,
    /// Encrypts every TCP connection.
    pub tls: Option<Arc<ServerConfig>>,
    /// Content types by file name extension, with its dot.
    pub content_types: HashMap<String, String>,
    /// Programs that answer requests.
    pub cgi: CgiConfig,
}

/// Where a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concurrency {
    /// In a thread of its own: it may block.
    Threads,
    /// In the thread that it shares with others, while nobody blocks that.
    Hub,
    /// In the thread of the server's event loop: it is a coroutine function.
    Loop,
}

/// Stands for every path without a handler of its own; no path of a URL is like it.
const ANY_PATH: &[u8] = b"*";

/// Which resources have handlers. They are bytes, since names of files may be any.
#[derive(Debug, Default)]
pub struct Routes(RwLock<HashMap<Vec<u8>, Concurrency>>);

impl Routes {
    /// Replaces all routes.
    pub fn set(&self, routes: HashMap<Vec<u8>, Concurrency>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    pub(super) fn find(&self, path: &str) -> Option<Concurrency> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = routes.get(path.as_bytes());
        let found = found.or_else(|| routes.get(&*uri::unescape_path(path)?));
        found.or_else(|| routes.get(ANY_PATH)).copied()
    }
}
