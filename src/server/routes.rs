//! The routes to the handlers of a server: which path leads to one, and where that runs.

use std::{collections::HashMap, sync::RwLock};

use crate::{
    locks::{read, write},
    protocol::uri,
};

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
