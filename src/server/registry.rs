//! The connections that are alive, so that a server that stops can say good-bye to all of them; and
//! what those that ended have left for the metrics.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    admission::permit::ConnectionPermit,
    config::Concurrency,
    metrics::totals::{Handshake, Totals},
};
use crate::connection::{ServerClose, Transport};

/// Live connections by number.
#[derive(Debug, Default)]
pub struct Registry {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    live: HashMap<u64, Entry>,
    /// Connections on which plain HTTP is spoken.
    http_connections: usize,
    closing: bool,
    /// Of those that have ended.
    totals: Totals,
}

#[derive(Debug)]
struct Entry {
    transport: Arc<Transport>,
    /// Where its handler is meant to run.
    place: Concurrency,
    _seat: ConnectionPermit,
}

impl Entry {
    /// Whether a close frame would be understood.
    fn is_established(&self) -> bool {
        self.transport.closing().is_established()
    }
}

/// What there is at a moment.
#[derive(Debug)]
pub(super) struct Survey {
    /// Connections of handlers by where those are meant to run, and whether they are open.
    pub(super) connections: BTreeMap<(Concurrency, bool), usize>,
    /// Connections on which plain HTTP is spoken.
    pub(super) http_connections: usize,
    pub(super) totals: Totals,
}

/// A connection of the fallback, until it is dropped.
#[derive(Debug)]
pub(super) struct HttpGuard(Arc<Registry>);

impl Drop for HttpGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.http_connections -= 1;
        self.0.tell(&state);
    }
}

impl Registry {
    /// Adds a connection whose opening handshake is under way; `None` when the server is closing.
    pub(super) fn add(
        &self,
        transport: Arc<Transport>,
        place: Concurrency,
        permit: ConnectionPermit,
    ) -> Option<u64> {
        let mut state = self.lock();
        if state.closing {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.live.insert(id, Entry { transport, place, _seat: permit });
        Some(id)
    }

    /// The 101 answer has been sent; `false` when the server is closing, which the connection
    /// was cut for.
    pub fn establish(&self, id: u64) -> bool {
        let state = self.lock();
        let closing = state.closing;
        if let Some(entry) = state.live.get(&id) {
            // under the lock: `close` cuts those that are not
            entry.transport.note_established();
        }
        !closing
    }

    /// The handler of a resource has returned.
    pub fn remove(&self, id: u64, resource: &str) {
        let mut state = self.lock();
        let gone = state.live.remove(&id);
        if let Some(entry) = &gone {
            state.totals.add_ended(&entry.transport.account(), resource);
        }
        self.tell(&state);
        drop(state);
        drop(gone);
    }

    /// The open connections that are of interest.
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

    /// A request for a WebSocket connection has come to no handler.
    pub(super) fn note_handshake(&self, result: Handshake) {
        self.lock().totals.add_handshake(result);
    }

    /// The connections that are alive, and what went over them and over all that were before.
    ///
    /// The sums are made when everybody else can go on: who ends meanwhile is not yet among those
    /// that have ended.
    pub(super) fn survey(&self) -> Survey {
        let state = self.lock();
        let (http_connections, mut totals) = (state.http_connections, state.totals.clone());
        let entries = state.live.values();
        let live: Vec<_> = entries
            .map(|entry| (entry.place, entry.is_established(), entry.transport.clone()))
            .collect();
        drop(state);
        let mut connections = BTreeMap::new();
        for (place, established, transport) in live {
            *connections.entry((place, established)).or_default() += 1;
            totals.add_live(&transport.account());
        }
        Survey { connections, http_connections, totals }
    }

    /// Wakes whoever waits for the last connection, which nobody does before the server closes: a
    /// system call saved.
    fn tell(&self, state: &State) {
        if state.closing {
            self.changed.notify_all();
        }
    }

    /// Counts a connection of the fallback, which sees by itself that the server is closing.
    pub(super) fn count_http(self: &Arc<Self>) -> HttpGuard {
        self.lock().http_connections += 1;
        HttpGuard(self.clone())
    }

    /// Refuses new connections and says good-bye to those that are there.
    pub fn close(&self, server_close: &ServerClose) {
        let mut state = self.lock();
        state.closing = true;
        for entry in state.live.values() {
            if entry.is_established() {
                entry.transport.go_away(server_close);
            } else {
                entry.transport.cut();
            }
        }
    }

    /// Waits, after [`Self::close`], until no handler and no visitor is left; `false` if some are
    /// when the time is over. The connections of handlers are then cut.
    pub fn wait_empty(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while !state.live.is_empty() || state.http_connections > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                for entry in state.live.values() {
                    entry.transport.cut();
                }
                return false;
            };
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
