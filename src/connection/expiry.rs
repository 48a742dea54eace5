//! Why the server ends a connection that has run out of time, how long a close frame waits for its
//! answer, and how to recognise the server's own pings.

use std::{fmt, time::Duration};

/// The server's own pings begin with this, and so do their pongs. Handlers do not see these pongs.
pub(crate) const KEEPALIVE_MARK: &[u8] = b"fastwsh keepalive ";

/// Time that a peer has to answer the server's close frame if no option sets one.
pub(crate) const DEFAULT_CLOSE_TIME: Duration = Duration::from_secs(10);

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// No answer to our close frame.
    Close(Duration),
    /// No answer to a ping.
    Ping(Duration),
    /// Nothing was sent or received.
    Idle(Duration),
}

impl fmt::Display for Expiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(time) => {
                write!(formatter, "sent no close frame within {} s", time.as_secs_f64())
            }
            Self::Ping(time) => {
                write!(formatter, "answered no ping within {} s", time.as_secs_f64())
            }
            Self::Idle(time) => {
                write!(formatter, "was idle for {} s", time.as_secs_f64())
            }
        }
    }
}

/// Whether a pong answers a ping of the server's own.
pub fn is_own_pong(body: &[u8]) -> bool {
    body.strip_prefix(KEEPALIVE_MARK).is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}
