//! What a server is told when it is made: settings, and which resources have handlers.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::ServerConfig;

use super::fallback::CgiConfig;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Root of the files that the fallback serves.
    pub document_root: PathBuf,
    /// Time for a request head; `None`: no limit.
    pub head_timeout: Option<Duration>,
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

/// Which resources have handlers.
#[derive(Debug, Default)]
pub struct Routes(RwLock<HashSet<String>>);

impl Routes {
    /// Replaces all routes.
    pub fn set(&self, routes: HashSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}
