//! What carries messages between servers.

use super::message::Message;

/// Carries messages to the brokers of other servers, and theirs to this one by
/// [`Broker::receive`](super::Broker::receive).
///
/// Nothing here may block or call the broker: publishers and connections wait meanwhile.
pub trait Backplane: Send + Sync {
    /// A topic has its first subscriber here. The broker's lock is held, so that calls for one topic
    /// come in order.
    fn first_joined(&self, topic: &str);

    /// A topic has lost its last subscriber here. The lock is held as well.
    fn last_left(&self, topic: &str);

    /// A message was published here. Calls of one publisher come in order.
    fn published(&self, topic: &str, message: &Message<'_>);

    /// Numbers for the operator.
    fn statistics(&self) -> BackplaneStatistics;
}

impl std::fmt::Debug for dyn Backplane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Backplane")
    }
}

/// Numbers of a backplane for the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackplaneStatistics {
    /// Whether other servers can be reached now.
    pub is_connected: bool,
    /// Messages for other servers.
    pub sent: u64,
    /// Messages of other servers.
    pub received: u64,
    /// Messages of other servers that have not arrived.
    pub missed: u64,
    /// Messages for other servers that were not sent.
    pub lost: u64,
}
