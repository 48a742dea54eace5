//! What all connections of a server share.

use std::sync::Arc;

use crate::{protocol::limits::FrameLimits, server::EventSink};

/// The settings of a server for all its connections.
#[derive(Debug, Clone)]
pub(in crate::python) struct Settings {
    /// `server_name` and `server_port` as handlers see them.
    pub(in crate::python) local_addr: (String, u16),
    pub(in crate::python) strict_compat: bool,
    /// Limits on received messages.
    pub(in crate::python) limits: FrameLimits,
    /// The most bytes of a received message after decompression.
    pub(in crate::python) max_inflated_bytes: Option<u64>,
    /// The most pings of a handler to remember until their pongs arrive.
    pub(in crate::python) max_pings: usize,
    /// Where log lines go; `None` for a client.
    pub(in crate::python) events: Option<Arc<EventSink>>,
}
