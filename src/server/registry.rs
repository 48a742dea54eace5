//! All open connections, so that a server that stops can close them, and the sums of ended
//! connections for the metrics.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    admission::permit::ConnectionPermit,
    metrics::totals::{Handshake, Totals},
    routes::Concurrency,
};
use crate::{
    connection::{
        stall::{Stall, LOOK_TIME},
        ServerClose, Transport,
    },
    inspect::WatchedConnection,
    locks::lock,
};

/// Time between two looks at opening handshakes.
const OPENING_LOOK: Duration = Duration::from_millis(1);

/// Open connections by number.
#[derive(Debug, Default)]
pub struct Registry {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    live: HashMap<u64, Entry>,
    /// Open connections with plain HTTP.
    http_connections: [usize; 3],
    /// What is sent to every peer when the server closes; set from then on.
    server_close: Option<ServerClose>,
    /// The sums over connections that have ended.
    totals: Totals,
}

impl State {
    /// Cuts connections whose peers have taken nothing for a while; `stalls` are those seen so far.
    fn cut_stalled(&self, stalls: &mut HashMap<u64, Stall>, now: Instant) {
        for (id, entry) in &self.live {
            let Some(seen) = entry.transport.uptake() else { continue };
            let stall = stalls.entry(*id).or_insert_with(|| Stall::begin(now));
            if Stall::is_over(stall.look(seen, now)) {
                entry.transport.cut();
            }
        }
    }
}

#[derive(Debug)]
struct Entry {
    transport: Arc<Transport>,
    /// Where its handler should run.
    concurrency: Concurrency,
    /// The answer 101 is being sent, so that a close frame must wait.
    is_answering: bool,
    _permit: ConnectionPermit,
    /// What an inspector keeps of it.
    watched: Option<Arc<WatchedConnection>>,
}

impl Entry {
    /// Whether the peer would understand a close frame.
    fn is_established(&self) -> bool {
        self.transport.closing().is_established()
    }
}

/// The connections at one moment.
#[derive(Debug)]
pub(super) struct RegistrySnapshot {
    /// Connections of handlers, by where the handlers run and by whether they are open.
    pub(super) connections: BTreeMap<(Concurrency, bool), usize>,
    /// Open connections with plain HTTP.
    pub(super) http_connections: [usize; 3],
    pub(super) totals: Totals,
}

/// Counts a connection of the fallback until it is dropped.
#[derive(Debug)]
pub(super) struct HttpGuard(Arc<Registry>, HttpVersion);

/// What a connection speaks; the number is its place among the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// Plain HTTP before HTTP/2.
    One = 0,
    /// HTTP/2, with pages and WebSocket connections.
    Two = 1,
    /// HTTP/3 likewise.
    Three = 2,
}

impl Drop for HttpGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.http_connections[self.1 as usize] -= 1;
        self.0.notify_waiters(&state);
    }
}

impl Registry {
    /// Adds a connection at the start of its opening handshake. Returns `None` if the server is
    /// closing.
    pub(super) fn add(
        &self,
        transport: Arc<Transport>,
        concurrency: Concurrency,
        permit: ConnectionPermit,
        watched: Option<Arc<WatchedConnection>>,
    ) -> Option<u64> {
        let mut state = self.lock();
        if state.server_close.is_some() {
            drop(state);
            if let Some(watched) = watched {
                watched.end(transport.account());
            }
            return None;
        }
        let id = state.next;
        state.next += 1;
        let entry = Entry { transport, concurrency, is_answering: false, _permit: permit, watched };
        state.live.insert(id, entry);
        Some(id)
    }

    /// Notes that the answer 101 is about to be sent. Returns `false` if the server is closing; then
    /// it has cut the connection.
    pub fn begin_answer(&self, id: u64) -> bool {
        let mut state = self.lock();
        if state.server_close.is_some() {
            return false;
        }
        if let Some(entry) = state.live.get_mut(&id) {
            entry.is_answering = true;
        }
        true
    }

    /// Notes that the answer 101 has been sent. If the server has begun to close meanwhile, its
    /// close frame follows.
    pub fn establish(&self, id: u64) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(entry) = state.live.get_mut(&id) {
            // while the registry is locked: `close` treats each connection by its state
            entry.transport.note_established();
            if let Some(server_close) = &state.server_close {
                entry.transport.go_away(server_close);
            }
        }
    }

    /// Removes a connection after its handler has returned.
    pub fn remove(&self, id: u64, resource: &str) {
        let mut state = self.lock();
        let gone = state.live.remove(&id);
        if let Some(entry) = &gone {
            state.totals.add_ended(&entry.transport.account(), resource);
        }
        self.notify_waiters(&state);
        drop(state);
        if let Some(Entry { transport, watched: Some(watched), .. }) = &gone {
            watched.end(transport.account());
        }
        drop(gone);
    }

    /// The established connections for which `wanted` is true.
    pub(super) fn established(
        &self,
        wanted: impl Fn(&Transport) -> bool,
    ) -> Vec<(u64, Arc<Transport>)> {
        let state = self.lock();
        let entries = state.live.iter().filter(|(_, entry)| entry.is_established());
        entries
            .filter(|(_, entry)| wanted(&entry.transport))
            .map(|(id, entry)| (*id, entry.transport.clone()))
            .collect()
    }

    /// Counts a request for a WebSocket connection that has reached no handler.
    pub(super) fn note_handshake(&self, result: Handshake) {
        self.lock().totals.add_handshake(result);
    }

    /// The open connections, and the sums over these and all earlier ones.
    ///
    /// The sums are made without the lock, so that other threads can go on. Connections that end
    /// meanwhile count as open.
    pub(super) fn snapshot(&self) -> RegistrySnapshot {
        let state = self.lock();
        let (http_connections, mut totals) = (state.http_connections, state.totals.clone());
        let entries = state.live.values();
        let live: Vec<_> = entries
            .map(|entry| (entry.concurrency, entry.is_established(), entry.transport.clone()))
            .collect();
        drop(state);
        let mut connections = BTreeMap::new();
        for (concurrency, established, transport) in live {
            *connections.entry((concurrency, established)).or_default() += 1;
            totals.add_live(&transport.account());
        }
        RegistrySnapshot { connections, http_connections, totals }
    }

    /// Wakes the threads that wait for the last connection. Nobody waits before the server closes,
    /// which saves a system call.
    fn notify_waiters(&self, state: &State) {
        if state.server_close.is_some() {
            self.changed.notify_all();
        }
    }

    /// Counts a connection of the fallback. Such a connection notices by itself that the server is
    /// closing.
    pub(super) fn count_http(self: &Arc<Self>, version: HttpVersion) -> HttpGuard {
        self.lock().http_connections[version as usize] += 1;
        HttpGuard(self.clone(), version)
    }

    /// Waits a moment for opening handshakes that are under way, so that [`Self::close`] need not
    /// cut them: their peers would get no answer.
    pub(super) fn let_openings_end(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let is_opening =
            |entry: &Entry| !entry.is_established() && !entry.transport.closing().is_cut();
        while self.lock().live.values().any(is_opening) && Instant::now() < deadline {
            // nobody tells of each handshake, as long as the server does not close
            sleep(OPENING_LOOK);
        }
    }

    /// Refuses new connections and sends a close frame to the open ones.
    pub fn close(&self, server_close: &ServerClose) {
        let mut state = self.lock();
        state.server_close = Some(server_close.clone());
        for entry in state.live.values() {
            if let Some(watched) = &entry.watched {
                watched.end_stall();
            }
            if entry.is_established() {
                entry.transport.go_away(server_close);
            } else if !entry.is_answering {
                entry.transport.cut();
            }
        }
    }

    /// Waits, after [`Self::close`], until no connection is left. Cuts those of handlers whose peers
    /// are to be given up, and if some are left when the time is over, all of them. Then it returns
    /// `false`.
    pub fn wait_empty(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.live.is_empty() && state.http_connections == [0; 3])
    }

    /// The same for the connections of handlers alone.
    pub fn wait_handlers(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.live.is_empty())
    }

    fn wait_until(&self, timeout: Duration, is_over: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut stalls = HashMap::new();
        let mut state = self.lock();
        while !is_over(&state) {
            let now = Instant::now();
            let Some(left) = deadline.checked_duration_since(now) else {
                for entry in state.live.values() {
                    entry.transport.cut();
                }
                return false;
            };
            state.cut_stalled(&mut stalls, now);
            let wait = self.changed.wait_timeout(state, left.min(LOOK_TIME));
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::{simulated::Simulated, Flusher},
        protocol::close_code::CloseCode,
    };

    const LONG: Duration = Duration::from_secs(3600);

    fn opening(registry: &Registry) -> (u64, Arc<Transport>) {
        let stream = Arc::new(Simulated::new([], []));
        let transport =
            Arc::new(Transport::new(stream, Vec::new(), Arc::new(Flusher::default()), None));
        let permit = ConnectionPermit::default();
        let id = registry.add(transport.clone(), Concurrency::Hub, permit, None).expect("open");
        (id, transport)
    }

    #[test]
    fn a_close_waits_for_opening_handshakes() {
        let registry = Arc::new(Registry::default());
        let (id, transport) = opening(&registry);
        let other = registry.clone();
        let answering = std::thread::spawn(move || {
            assert!(other.begin_answer(id));
            other.establish(id);
        });
        registry.let_openings_end(LONG);
        registry.close(&ServerClose::new(CloseCode::GOING_AWAY, "").expect("a short reason"));
        assert!(transport.closing().is_going_away());
        assert!(!transport.closing().is_cut());
        answering.join().expect("no panic");
    }

    #[test]
    fn a_close_does_not_wait_for_those_that_take_long() {
        let registry = Registry::default();
        let (_, transport) = opening(&registry);
        registry.let_openings_end(Duration::ZERO);
        registry.close(&ServerClose::new(CloseCode::GOING_AWAY, "").expect("a short reason"));
        assert!(transport.closing().is_cut());
        // nor for those that were cut
        registry.let_openings_end(LONG);
    }
}
