//! The end of an open WebSocket's stream, in each of the ways in which a handler, the peer or the
//! server may end it.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use h2::Reason;
use tokio::{
    sync::watch,
    time::{sleep_until, Instant},
};

use super::byte_stream::Http2ByteStream;
use crate::{
    connection::{stall::given_up, Transport},
    protocol::closing::Closing,
};

/// Time for the peer to end its direction when we have ended ours.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for the peer to read the rest after the handler has ended, if no option sets it.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(60);

/// How our direction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By `END_STREAM`: close frames were exchanged in both directions, or the handler has ended its
    /// direction and may go on receiving.
    InOrder,
    /// By a reset that discards what was not sent: the handler has reset the connection.
    Reset,
    /// By a reset behind what was sent: the handler has ended without a closing handshake, or the
    /// server has cut the connection.
    Abrupt,
}

impl End {
    fn of(closing: Closing) -> Self {
        if closing.is_reset() {
            Self::Reset
        } else if closing.is_cut() || closing.is_released() && !closing.is_clean() {
            Self::Abrupt
        } else {
            Self::InOrder
        }
    }
}

/// What the stream's task waits for, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Handler,
    /// Until the peer has room for the rest.
    Room,
    /// Until the peer ends its direction.
    Peer,
}

impl WaitsFor {
    fn now(closing: Closing, is_all_sent: bool) -> Self {
        if !closing.is_released() && !closing.is_cut() {
            Self::Handler
        } else if is_all_sent {
            Self::Peer
        } else {
            Self::Room
        }
    }

    /// `None`: for ever.
    fn how_long(self, time_limit: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Handler => None,
            Self::Room => Some(time_limit.unwrap_or(WINDOW_TIMEOUT)),
            Self::Peer => Some(PEER_TIMEOUT),
        }
    }
}

/// Waits until both directions of a stream have ended, and ends ours as the handler does. The caller
/// then lets go of the stream, which resets it if it has not ended in order. `time_limit` is the time
/// for the peer to read the rest, which is shorter for one that reads nothing once the server stops.
pub(super) async fn end(
    stream: &Http2ByteStream,
    transport: &Arc<Transport>,
    time_limit: Option<Duration>,
    stop: &watch::Receiver<bool>,
) {
    let mut given_up = pin!(given_up(stop, || stream.uptake()));
    let (mut is_end_sent, mut waits, mut deadline) = (false, WaitsFor::Handler, None);
    loop {
        let closing = transport.closing();
        if closing.is_released() {
            stream.discard();
        }
        if stream.is_sending_over() && !is_end_sent {
            match End::of(closing) {
                End::Reset => return,
                End::Abrupt if stream.is_all_taken() => return,
                End::Abrupt => {}
                End::InOrder => {
                    stream.send_end();
                    is_end_sent = true;
                }
            }
        }
        let is_all_sent = is_end_sent && stream.is_all_taken();
        if is_all_sent && stream.has_peer_ended() {
            return;
        }
        let now_waits = WaitsFor::now(closing, is_all_sent);
        if now_waits != waits {
            waits = now_waits;
            deadline = waits.how_long(time_limit).map(|time| Instant::now() + time);
        }
        tokio::select! {
            () = poll_fn(|context| stream.poll_reset(context)) => return,
            () = stream.notified() => {}
            () = given_up.as_mut() => {
                stream.send_reset(Reason::CANCEL);
                transport.cut();
                return;
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                if waits == WaitsFor::Room {
                    stream.send_reset(Reason::CANCEL);
                }
                return;
            }
        }
    }
}
