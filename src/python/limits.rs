//! The limits of a server from Python: a dict of numbers, in which 0 means no limit.

use std::time::Duration;

use pyo3::prelude::*;

use super::errors::value_error;
use crate::{connection::SlowPolicy, protocol, server, topics};

/// The dict; `fastwsh.settings.limits` describes each entry.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Limits {
    max_request_line_bytes: u64,
    max_header_bytes: u64,
    max_header_lines: u64,
    head_timeout: f64,
    max_connections: u64,
    max_connections_per_address: u64,
    max_message_bytes: u64,
    max_inflated_bytes: u64,
    max_frame_bytes: u64,
    max_fragments: u64,
    max_pings: u64,
    close_timeout: f64,
    ping_interval: f64,
    ping_timeout: f64,
    idle_timeout: f64,
    pong_while_busy: bool,
    max_http_body_bytes: u64,
    http_timeout: f64,
    max_http2_streams: u64,
    max_http2_resets: u64,
    max_http3_streams: u64,
    max_http3_resets: u64,
    topic_queue_bytes: u64,
}

impl Limits {
    /// For received messages.
    pub(super) fn of_messages(&self) -> protocol::limits::FrameLimits {
        let or_none = |limit| if limit == 0 { u64::MAX } else { limit };
        protocol::limits::FrameLimits {
            message_bytes: or_none(self.max_message_bytes),
            frame_bytes: or_none(self.max_frame_bytes),
            fragments: or_none(self.max_fragments),
        }
    }

    /// For messages that are inflated.
    pub(super) fn of_inflated(&self) -> Option<u64> {
        (self.max_inflated_bytes > 0).then_some(self.max_inflated_bytes)
    }

    /// For the pings of a handler.
    pub(super) fn of_pings(&self) -> usize {
        count(self.max_pings).unwrap_or(usize::MAX)
    }

    /// For connections.
    pub(super) fn of_connections(&self) -> PyResult<server::ConnectionLimits> {
        Ok(server::ConnectionLimits {
            head: protocol::head::HeadLimits {
                request_line_bytes: count(self.max_request_line_bytes).unwrap_or(usize::MAX),
                header_bytes: count(self.max_header_bytes).unwrap_or(usize::MAX),
                header_lines: count(self.max_header_lines).unwrap_or(usize::MAX),
            },
            head_time: time(self.head_timeout)?,
            connections: count(self.max_connections),
            connections_per_address: count(self.max_connections_per_address),
            close_time: time(self.close_timeout)?,
            http_body_bytes: (self.max_http_body_bytes > 0).then_some(self.max_http_body_bytes),
            http_time: time(self.http_timeout)?,
            http2_streams: count(self.max_http2_streams),
            http2_resets: count(self.max_http2_resets),
            http3_streams: count(self.max_http3_streams),
            http3_resets: count(self.max_http3_resets),
        })
    }

    /// For subscribers of topics.
    pub(super) fn of_topics(&self, slow_subscriber: &str) -> PyResult<topics::QueueSettings> {
        let policy = match slow_subscriber {
            "close" => SlowPolicy::Close,
            "drop-newest" => SlowPolicy::DropNewest,
            "drop-oldest" => SlowPolicy::DropOldest,
            other => {
                return Err(value_error(format!(
                    "slow_subscriber must be close, drop-newest or drop-oldest, not {other:?}"
                )));
            }
        };
        Ok(topics::QueueSettings {
            queue_bytes: count(self.topic_queue_bytes).unwrap_or(usize::MAX),
            policy,
            close_time: time(self.close_timeout)?,
        })
    }

    /// For silent connections.
    pub(super) fn keepalive(&self) -> PyResult<server::Keepalive> {
        Ok(server::Keepalive {
            ping_interval: time(self.ping_interval)?,
            ping_timeout: time(self.ping_timeout)?,
            idle_timeout: time(self.idle_timeout)?,
            answers_pings: self.pong_while_busy,
        })
    }
}

fn count(limit: u64) -> Option<usize> {
    (limit > 0).then(|| usize::try_from(limit).unwrap_or(usize::MAX))
}

fn time(seconds: f64) -> PyResult<Option<Duration>> {
    let time = Duration::try_from_secs_f64(seconds).map_err(value_error)?;
    Ok((!time.is_zero()).then_some(time))
}
