//! Sums over open connections and those that have ended.

use std::collections::BTreeMap;

use crate::{
    connection::{Account, Phase, Traffic, Volume},
    protocol::{closing::Side, handshake::opens},
};

/// From this code on, libraries and applications choose the codes (RFC 6455 7.4.2).
const FREE_CODES: u16 = 3000;

/// The most such codes to count separately. Clients can choose from thousands, and each becomes a
/// time series for as long as the server runs.
const MAX_FREE_CODES: usize = 100;

/// The most paths of handlers that have failed to count separately. Of a handler with subpaths,
/// clients can choose them.
const MAX_FAILED_PATHS: usize = 200;

/// The result of an opening handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) enum Handshake {
    /// It was answered with this status.
    Answered(u16),
    /// It was for a resource without a handler, so that plain HTTP answered it.
    NoHandler,
    /// The connection ended without an answer.
    Unanswered,
}

/// Sums that only grow.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Totals {
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    pub(super) handshakes: BTreeMap<Handshake, u64>,
    /// By code; `None` stands for all codes after the first [`MAX_FREE_CODES`].
    pub(super) closes: BTreeMap<(Option<u16>, Side), u64>,
    /// By resource, without its query; `None` stands for all after the first [`MAX_FAILED_PATHS`].
    pub(super) failures: BTreeMap<(Option<String>, Phase), u64>,
}

impl Totals {
    /// Adds a connection that has ended.
    pub(in crate::server) fn add_ended(&mut self, account: &Account, resource: &str) {
        self.add_live(account);
        if account.answer.is_none() {
            self.add_handshake(Handshake::Unanswered);
        }
        if let Some(phase) = account.failure {
            let path = resource.split('?').next().map(str::to_owned);
            let mut key = (path, phase);
            if self.failures.len() >= MAX_FAILED_PATHS && !self.failures.contains_key(&key) {
                key.0 = None;
            }
            *self.failures.entry(key).or_default() += 1;
        }
        let was_open = account.answer.is_some_and(opens);
        if let Some((code, side)) = account.closed.filter(|_| was_open) {
            let is_known = code < FREE_CODES || self.closes.contains_key(&(Some(code), side));
            let code = Some(code).filter(|_| is_known || self.free_codes() < MAX_FREE_CODES);
            *self.closes.entry((code, side)).or_default() += 1;
        }
    }

    fn free_codes(&self) -> usize {
        self.closes.keys().filter(|(code, _)| code.is_some_and(|code| code >= FREE_CODES)).count()
    }

    /// Adds a connection that is still open.
    pub(in crate::server) fn add_live(&mut self, account: &Account) {
        add_traffic(&mut self.received, &account.received);
        add_traffic(&mut self.sent, &account.sent);
        if let Some(status) = account.answer {
            self.add_handshake(Handshake::Answered(status));
        }
    }

    pub(in crate::server) fn add_handshake(&mut self, result: Handshake) {
        *self.handshakes.entry(result).or_default() += 1;
    }
}

fn add_traffic(sum: &mut Traffic, more: &Traffic) {
    add_volume(&mut sum.text, more.text);
    add_volume(&mut sum.binary, more.binary);
    sum.wire += more.wire;
}

fn add_volume(sum: &mut Volume, more: Volume) {
    sum.messages += more.messages;
    sum.bytes += more.bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(closed: Option<(u16, Side)>) -> Account {
        Account {
            received: Traffic { text: Volume { messages: 2, bytes: 10 }, ..Traffic::default() },
            sent: Traffic { wire: 7, ..Traffic::default() },
            answer: closed.map(|_| 101),
            close_sent: None,
            closed,
            failure: Some(Phase::Transfer),
        }
    }

    #[test]
    fn a_connection_counts_as_it_lives_and_once_more_for_its_end() {
        let mut totals = Totals::default();
        totals.add_live(&account(None));
        totals.add_ended(&account(Some((1000, Side::Client))), "/echo?x=1");
        totals.add_ended(&account(None), "/echo");
        assert_eq!(totals.received.text, Volume { messages: 6, bytes: 30 });
        assert_eq!(totals.sent.wire, 21);
        let handshakes = [(Handshake::Answered(101), 1), (Handshake::Unanswered, 1)];
        assert_eq!(totals.handshakes, BTreeMap::from(handshakes));
        assert_eq!(totals.closes, BTreeMap::from([((Some(1000), Side::Client), 1)]));
        let failures = [((Some("/echo".to_owned()), Phase::Transfer), 2)];
        assert_eq!(totals.failures, BTreeMap::from(failures));
    }

    #[test]
    fn clients_that_make_handlers_fail_at_ever_new_paths_do_not_fill_the_memory() {
        let mut totals = Totals::default();
        for number in 0..1000 {
            totals.add_ended(&account(None), &format!("/sub/{number}?x"));
        }
        totals.add_ended(&account(None), "/sub/0");
        assert_eq!(totals.failures[&(Some("/sub/0".to_owned()), Phase::Transfer)], 2);
        assert_eq!(totals.failures[&(None, Phase::Transfer)], 800);
        assert_eq!(totals.failures.len(), MAX_FAILED_PATHS + 1);
    }

    #[test]
    fn clients_that_close_with_ever_new_codes_do_not_fill_the_memory() {
        let mut totals = Totals::default();
        for code in 3000..5000 {
            totals.add_ended(&account(Some((code, Side::Client))), "/echo");
        }
        totals.add_ended(&account(Some((3000, Side::Client))), "/echo");
        assert_eq!(totals.closes[&(Some(3000), Side::Client)], 2);
        assert_eq!(totals.closes[&(None, Side::Client)], 1900);
        assert_eq!(totals.closes.len(), MAX_FREE_CODES + 1);
        totals.add_ended(&account(Some((1006, Side::Server))), "/echo");
        assert_eq!(totals.closes[&(Some(1006), Side::Server)], 1);
    }
}
