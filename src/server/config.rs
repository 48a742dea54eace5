//! The settings of a server, and the routes to its handlers.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use rustls::ServerConfig;

use super::{
    admission::{client_address::Proxies, shared_counts::SharedCounts},
    limits::{ConnectionLimits, Keepalive},
};
use crate::{
    inspect::Inspector,
    locks::{read, write},
    protocol::uri,
    topics,
};

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

/// Where a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concurrency {
    /// In a thread of its own: it may block.
    Threads,
    /// In the thread that many handlers share, as long as none of them blocks it.
    Hub,
    /// In the thread of the server's event loop: it is a coroutine function.
    Loop,
}

impl Concurrency {
    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Hub => "hub",
            Self::Loop => "loop",
        }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To a handler that runs there.
    Handler(Concurrency),
    /// To a handler of which only the acceptor can say where it runs.
    Undecided,
}

/// Begins a route for all paths below a folder: `*` and the folder with its slash, or `*` alone for
/// every path. No path of a URL begins with it.
const BELOW: u8 = b'*';

/// Maps resources to where their handlers run. Resources are bytes, since file names may be any
/// bytes. A route for all paths below a folder counts for those without a handler of their own; the
/// longest one wins.
#[derive(Debug, Default)]
pub struct Routes(RwLock<HashMap<Vec<u8>, Destination>>);

impl Routes {
    /// Replaces all routes.
    pub fn set(&self, routes: HashMap<Vec<u8>, Destination>) {
        *write(&self.0) = routes;
    }

    /// Finds the route of a path. Routes for folders are for requests for a WebSocket; the route for
    /// every path is for all.
    pub(super) fn find(&self, path: &str, is_upgrade: bool) -> Option<Destination> {
        if path.as_bytes().first() == Some(&BELOW) {
            return None;
        }
        let routes = read(&self.0);
        let found = routes.get(path.as_bytes());
        let found = found.or_else(|| routes.get(&*uri::unescape_path(path)?));
        found.or_else(|| Self::find_below(&routes, path, is_upgrade)).copied()
    }

    fn find_below<'a>(
        routes: &'a HashMap<Vec<u8>, Destination>,
        path: &str,
        is_upgrade: bool,
    ) -> Option<&'a Destination> {
        let mut key = vec![BELOW];
        if is_upgrade {
            key.extend(uri::unescape_path(path).unwrap_or_else(|| path.into()));
            while let Some(slash) = key.iter().rposition(|byte| *byte == b'/') {
                key.truncate(slash + 1);
                if let Some(found) = routes.get(&key) {
                    return Some(found);
                }
                key.truncate(slash);
            }
        }
        routes.get(&[BELOW][..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_for_folders_serve_the_paths_below_them() {
        let routes = Routes::default();
        let of =
            |path: &str, concurrency| (path.as_bytes().to_vec(), Destination::Handler(concurrency));
        routes.set(HashMap::from([
            of("/app", Concurrency::Loop),
            of("*/app/", Concurrency::Loop),
            of("/app/in/own", Concurrency::Hub),
            of("*/caf\u{e9}/", Concurrency::Threads),
        ]));
        let find = |path| routes.find(path, true);
        let handler = |concurrency| Some(Destination::Handler(concurrency));
        assert_eq!(find("/app"), handler(Concurrency::Loop));
        assert_eq!(find("/app/"), handler(Concurrency::Loop));
        assert_eq!(find("/app/in/other"), handler(Concurrency::Loop));
        assert_eq!(find("/app/in/own"), handler(Concurrency::Hub));
        assert_eq!(find("/caf%C3%A9/x"), handler(Concurrency::Threads));
        assert_eq!(find("/apple"), None);
        assert_eq!(find("/other/app/"), None);
        assert_eq!(find("*/app/"), None);
        assert_eq!(routes.find("/app/in/other", false), None);
        routes.set(HashMap::from([of("*", Concurrency::Hub)]));
        assert_eq!(find("/any"), handler(Concurrency::Hub));
        assert_eq!(routes.find("/any", false), handler(Concurrency::Hub));
    }
}
