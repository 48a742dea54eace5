//! The settings of a server.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;

use super::{
    admission::{client_address::Proxies, shared_counts::SharedCounts},
    limits::{ConnectionLimits, Keepalive},
};
use crate::{inspect::Inspector, topics};

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Root of the files that the fallback serves.
    pub document_root: PathBuf,
    /// Files that the server uses itself. They are never served, under any name.
    pub private_files: Vec<PathBuf>,
    /// Whether files with names that begin with a dot are served.
    pub serve_dot_files: bool,
    /// Limits on what a peer may use.
    pub limits: ConnectionLimits,
    /// Where the limits of connections are counted together with other workers.
    pub shared_counts: Option<Arc<SharedCounts>>,
    /// Pings and timeouts for silent connections.
    pub keepalive: Keepalive,
    /// The proxies that may report the addresses of their clients.
    pub proxies: Proxies,
    /// The host that an absolute request target must name.
    pub validation_host: Option<String>,
    /// The port that an absolute request target must name.
    pub validation_port: Option<u16>,
    /// Whether to support HTTP/2 in addition to HTTP/1.1.
    pub http2: bool,
    /// The UDP port on which HTTP/3 is supported, for other answers to name (RFC 7838); 0 stands for
    /// the number of the connection's own port.
    pub http3_port: Option<u16>,
    /// If set, every TCP connection is encrypted.
    pub tls: Option<Arc<ServerConfig>>,
    /// Content types of files.
    pub content_types: FindContentTypes,
    /// Programs that answer requests.
    pub cgi: CgiConfig,
    /// How much waits for slow subscribers of topics.
    pub topics: topics::QueueSettings,
    /// Watches the connections with a handler, with `--inspect`.
    pub inspector: Option<Arc<Inspector>>,
}

/// Finds the content types by file name extension, with its dot. Called when the first file is sent:
/// reading the system's tables takes milliseconds, and most servers send no file.
#[derive(Clone)]
pub struct FindContentTypes(pub Arc<dyn Fn() -> HashMap<String, String> + Send + Sync>);

impl std::fmt::Debug for FindContentTypes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FindContentTypes").finish_non_exhaustive()
    }
}

/// Decides whether a file is a program. Embedders may use another rule than the mode bits.
pub type IsExecutable = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// How programs are run, and which.
#[derive(Clone, Default)]
pub struct CgiConfig {
    /// Paths from the document root of folders with programs; empty means that no program is run.
    pub directories: Vec<Vec<u8>>,
    /// Time for a program from its start to its end; `None`: no limit.
    pub timeout: Option<Duration>,
    /// User and group to become.
    pub user: Option<(u32, u32)>,
    /// The server's name; if empty, the address that the client connected to.
    pub server_name: String,
    /// Decides whether a file is a program, instead of its mode bits.
    pub is_executable: Option<IsExecutable>,
}

impl std::fmt::Debug for CgiConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CgiConfig")
            .field("directories", &self.directories)
            .field("timeout", &self.timeout)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
