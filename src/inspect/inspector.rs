//! All watched connections of a server.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Instant,
};

use super::{
    heads::{Heads, WatchedRequest},
    inspector_state::InspectorState,
    latency::BUCKETS,
    tapped_stream::TappedStream,
    watched_connection::WatchedConnection,
};
use crate::{
    connection::{Account, ByteStream},
    locks::lock,
};

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// The order in which they came.
    Id,
    /// The path.
    Path,
    /// The client's address.
    Peer,
    /// Messages in both directions.
    Messages,
    /// Bytes in both directions.
    Bytes,
    /// Bytes that wait to be sent.
    Waiting,
}

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub struct Query {
    /// What they are sorted by.
    pub key: SortKey,
    /// Whether the largest come first.
    pub descending: bool,
    /// What path, address, subprotocol or number contain; in lower case.
    pub filter: String,
    /// Whether open connections are wanted, and those that have ended.
    pub open: bool,
    /// Those that have ended.
    pub ended: bool,
    /// How many to skip.
    pub offset: usize,
    /// How many to return at most.
    pub count: usize,
}

/// What a row is sorted by, which can be compared with that of another process.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum SortValue {
    /// When it came.
    Time(f64),
    /// A number of messages or bytes.
    Count(u64),
    /// A path, or an address in a form that is sorted like addresses.
    Text(String),
}

/// Some of the connections.
#[derive(Debug)]
pub struct Page {
    /// How many are open.
    pub open: usize,
    /// How many have ended and are still known.
    pub ended: usize,
    /// How many are as wanted.
    pub matching: usize,
    /// Those on this page, with their accounts.
    pub rows: Vec<(Arc<WatchedConnection>, Account)>,
}

/// Watches the connections of a server.
#[derive(Debug)]
pub struct Inspector {
    shared: Arc<InspectorState>,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct Connections {
    /// The number of the next connection, and what to add for the one behind it.
    next: u64,
    step: u64,
    by_id: BTreeMap<u64, Arc<WatchedConnection>>,
}

impl Inspector {
    /// `limit`: the most bytes of all timelines; `first`: the number of the first connection, and
    /// `step` what to add for each other, so that those of several processes have numbers of their own.
    pub fn new(limit: usize, first: u64, step: u64) -> Self {
        let connections = Connections { next: first, step, by_id: BTreeMap::new() };
        Self { shared: Arc::new(InspectorState::new(limit)), connections: Mutex::new(connections) }
    }

    /// The connections that are known.
    fn connections(&self) -> MutexGuard<'_, Connections> {
        let mut connections = lock(&self.connections);
        for id in self.shared.take_forgotten() {
            connections.by_id.remove(&id);
        }
        connections
    }

    /// Watches a connection. `first` are bytes that came behind the request's head. Returns also the
    /// stream to use in place of the socket.
    pub fn watch(
        &self,
        socket: Arc<dyn ByteStream>,
        first: &[u8],
        request: &WatchedRequest<'_>,
    ) -> (Arc<WatchedConnection>, Arc<dyn ByteStream>) {
        let heads = Heads::new(request, self.shared.time(Instant::now()));
        let mut connections = self.connections();
        let id = connections.next;
        connections.next += connections.step;
        let shared = self.shared.clone();
        let watched = Arc::new(WatchedConnection::new(id, heads, request.answer_is_bytes, shared));
        connections.by_id.insert(id, watched.clone());
        drop(connections);
        let stream = TappedStream::new(socket, watched.clone());
        let tapped: Weak<TappedStream> = Arc::downgrade(&stream);
        watched.set_stream(tapped);
        watched.note_received(first);
        (watched, stream)
    }

    /// A connection by its number.
    pub fn find(&self, id: u64) -> Option<Arc<WatchedConnection>> {
        self.connections().by_id.get(&id).cloned()
    }

    /// The numbers of all known connections.
    pub fn ids(&self) -> Vec<u64> {
        self.connections().by_id.keys().copied().collect()
    }

    /// Some of the connections.
    pub fn page(&self, query: &Query) -> Page {
        let connections = self.connections();
        let (total, ended) = (connections.by_id.len(), self.shared.ended());
        let all: Vec<_> = connections.by_id.values().cloned().collect();
        drop(connections);
        let wanted = all.into_iter().filter(|watched| query.wants(watched));
        let mut rows: Vec<_> = wanted
            .map(|watched| {
                let account = account(&watched);
                (watched, account)
            })
            .collect();
        // they are in the order of their numbers
        if !matches!(query.key, SortKey::Id) {
            // each is asked once, as some values change meanwhile
            let value = |(watched, account): &(Arc<_>, _)| query.key.value(watched, account);
            let mut sorted: Vec<_> = rows.into_iter().map(|row| (value(&row), row)).collect();
            sorted.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
            rows = sorted.into_iter().map(|(_, row)| row).collect();
        }
        if query.descending {
            rows.reverse();
        }
        let matching = rows.len();
        let rows = rows.into_iter().skip(query.offset).take(query.count).collect();
        Page { open: total - ended, ended, matching, rows }
    }

    /// Bytes of all timelines, the most of them, and how many records were dropped.
    pub fn memory(&self) -> (usize, usize, u64) {
        self.shared.memory()
    }

    /// Times from a message to its answer, see [`BUCKETS`].
    pub fn latency(&self) -> [u64; BUCKETS] {
        self.shared.latency.counts()
    }
}

impl Query {
    fn wants(&self, watched: &WatchedConnection) -> bool {
        let is_ended = watched.ended().is_some();
        if !(if is_ended { self.ended } else { self.open }) {
            return false;
        }
        if self.filter.is_empty() {
            return true;
        }
        let heads = &watched.heads;
        let contains = |text: &str| text.to_lowercase().contains(&self.filter);
        contains(&heads.resource)
            || heads.peer.is_some_and(|peer| contains(&peer.to_string()))
            || contains(heads.answer_header("Sec-WebSocket-Protocol"))
            || contains(&format!("#{}", watched.id))
    }
}

impl SortKey {
    /// What a row is sorted by.
    pub fn value(self, watched: &WatchedConnection, account: &Account) -> SortValue {
        let heads = &watched.heads;
        match self {
            Self::Id => SortValue::Time(heads.started),
            Self::Path => SortValue::Text(heads.resource.clone()),
            Self::Peer => SortValue::Text(match heads.peer {
                None => String::new(),
                Some(SocketAddr::V4(peer)) => {
                    format!("4 {:08x} {:05}", u32::from(*peer.ip()), peer.port())
                }
                Some(SocketAddr::V6(peer)) => {
                    format!("6 {:032x} {:05}", u128::from(*peer.ip()), peer.port())
                }
            }),
            Self::Messages => SortValue::Count(messages(account)),
            Self::Bytes => SortValue::Count(bytes(account)),
            Self::Waiting => SortValue::Count(waiting(watched) as u64),
        }
    }
}

fn messages(account: &Account) -> u64 {
    account.received.messages() + account.sent.messages()
}

fn bytes(account: &Account) -> u64 {
    account.received.wire + account.sent.wire
}

fn account(watched: &WatchedConnection) -> Account {
    let live = watched.transport().map(|transport| transport.account());
    live.or_else(|| watched.ended().map(|ended| ended.account)).unwrap_or_default()
}

/// Bytes that wait to be sent to the client.
pub(super) fn waiting(watched: &WatchedConnection) -> usize {
    let held = watched.transport().map_or(0, |transport| transport.waiting_bytes());
    held + watched.slowed_bytes()
}
