//! The closing handshake as a state machine (RFC 6455 7): which side has sent a close frame with
//! which code, and what is still allowed. It has no I/O and no clock: the code that waits for the
//! peer measures the time.
//!
//! Each direction ends on its own. Our direction:
//!
//! ```text
//!             established              handler_closes, sending_ends, reset
//!  ┌─────────┐         ┌──────┐                                   ┌────────┐
//!  │ opening ├────────►│ open ├──────────────────────────────────►│ closed │
//!  └─────────┘         └──┬───┘                                   └────────┘
//!                         │ go_away                                    ▲
//!                         ▼                                            │
//!                  ┌────────────┐  handler_closes before the server's  │
//!                  │ going away ├──────────────────────────────────────┘
//!                  └────────────┘  frame has left: the handler's is the one that goes out
//! ```
//!
//! The peer's direction, which only the peer can end:
//!
//! ```text
//!  ┌──────┐ close_received ┌────────┐
//!  │ open ├───────────────►│ closed │
//!  └──────┘                └────────┘
//! ```
//!
//! And the stream below; when it ends, both directions end:
//!
//! ```text
//!  ┌───────────┐ cut, reset ┌───────┐ release_stream ┌──────────┐
//!  │ connected ├───────────►│ ended ├───────────────►│ released │
//!  └─────┬─────┘            └───────┘                └──────────┘
//!        │                 release_stream                 ▲
//!        └────────────────────────────────────────────────┘
//! ```
//!
//! No transition is undone, except for [`Closing::await_close`], and where a handler insists on sending
//! after its close frame ([`Closing::handler_reopens`]). Each transition is allowed in
//! every state, because handler, peer and server may close at the same time without knowing of each
//! other. A transition that comes too late does not change what the peer has already been told.

use super::close_code::CloseCode;

/// A side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The peer.
    Client,
    /// The server, or its handler.
    Server,
}

/// The state of closing a connection. It is small enough for one atomic number, see
/// [`Self::to_bits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Closing {
    /// From the lowest: sixteen bits for the code of our close frame, sixteen for the first close
    /// code of either side, two for that side, and the flags below.
    bits: u64,
}

const FIRST_CODE: u32 = 16;
const FIRST_SIDE: u32 = 32;
/// Values of the two bits for a side; 0 stands for "none".
const CLIENT: u64 = 1;
const SERVER: u64 = 2;

const ESTABLISHED: u64 = 1 << 34;
const GOING_AWAY: u64 = 1 << 35;
const SENDING_ENDED: u64 = 1 << 36;
const CLOSE_RECEIVED: u64 = 1 << 37;
const END_REPORTED: u64 = 1 << 38;
const AWAITS_CLOSE: u64 = 1 << 39;
const CLEAN: u64 = 1 << 40;
const CUT: u64 = 1 << 41;
const RESET: u64 = 1 << 42;
const RELEASED: u64 = 1 << 43;
const HANDLER_CLOSED: u64 = 1 << 44;
const HANDLER_ENDED: u64 = 1 << 45;

/// Transitions.
impl Closing {
    /// The opening handshake has been answered: the peer understands a close frame from now on.
    #[must_use]
    pub fn established(self) -> Self {
        self.with(ESTABLISHED)
    }

    /// The server closes the connection of its own accord; [`Self::owes_server_close`] says whether
    /// its close frame is still wanted.
    #[must_use]
    pub fn go_away(self, code: CloseCode) -> Self {
        let is_first = !self.is_sending_ended() && !self.is_going_away();
        let closing = if is_first { self.sent(code) } else { self };
        closing.with(GOING_AWAY)
    }

    /// A close frame of the handler is about to be sent, on its own or as an answer. If a handler
    /// sends a second one, its code counts as ours.
    #[must_use]
    pub fn handler_closes(self, code: CloseCode) -> Self {
        self.sent(code).with(SENDING_ENDED | HANDLER_CLOSED)
    }

    /// The handler says that it has not sent a close frame, whatever it has sent: it may send
    /// messages, and another close frame.
    #[must_use]
    pub fn handler_reopens(self) -> Self {
        Self { bits: self.bits & !HANDLER_CLOSED }
    }

    /// Our direction ends without a close frame, and none can follow.
    #[must_use]
    pub fn sending_ends(self) -> Self {
        self.with(SENDING_ENDED)
    }

    /// The peer has sent a close frame. `None` as the code means a code that may not be sent. That
    /// is an error of the peer, which our own close frame reports.
    #[must_use]
    pub fn close_received(self, code: Option<CloseCode>) -> Self {
        let closing = code.map_or(self, |code| self.first(code, CLIENT));
        closing.with(CLOSE_RECEIVED)
    }

    /// A call of the handler has raised an exception because the connection is lost or must be
    /// closed.
    #[must_use]
    pub fn end_reported(self) -> Self {
        self.with(END_REPORTED)
    }

    /// The handler waits for the peer's close frame, or no longer does.
    #[must_use]
    pub fn await_close(self, awaits: bool) -> Self {
        if awaits {
            self.with(AWAITS_CLOSE)
        } else {
            Self { bits: self.bits & !AWAITS_CLOSE }
        }
    }

    /// The handler has ended after close frames in both directions.
    #[must_use]
    pub fn handshake_done(self) -> Self {
        self.with(CLEAN)
    }

    /// The server has ended both directions.
    #[must_use]
    pub fn cut(self) -> Self {
        self.with(CUT)
    }

    /// The handler wants a reset instead of a close frame and an orderly end.
    #[must_use]
    pub fn reset(self) -> Self {
        self.with(RESET | SENDING_ENDED)
    }

    /// The stream is released: a caller that still holds a half drops its socket.
    #[must_use]
    pub fn release_stream(self) -> Self {
        self.with(RELEASED)
    }

    /// The handler has ended. If neither side has sent a close frame, the side that ended the
    /// stream has closed the connection, abnormally (RFC 6455 7.1.5).
    #[must_use]
    pub fn handler_ended(self, is_peer_gone: bool) -> Self {
        let is_ours = self.is_sending_ended() || self.is_reset() || self.is_cut() || !is_peer_gone;
        let side = if is_ours { SERVER } else { CLIENT };
        self.with(HANDLER_ENDED).first(CloseCode::ABNORMAL, side)
    }
}

/// Questions.
impl Closing {
    /// Whether the peer would understand a close frame.
    pub fn is_established(self) -> bool {
        self.has(ESTABLISHED)
    }

    /// Whether the server is closing the connection.
    pub fn is_going_away(self) -> bool {
        self.has(GOING_AWAY)
    }

    /// Whether no frame may follow from our side, because of a close frame of the handler or the
    /// end of our direction (RFC 6455 5.5.1).
    pub fn is_sending_ended(self) -> bool {
        self.has(SENDING_ENDED)
    }

    /// Whether the handler has sent a close frame, or is about to, and stands by it.
    pub fn has_handler_closed(self) -> bool {
        self.has(HANDLER_CLOSED)
    }

    /// Whether the server's close frame should still be sent. If the handler has sent one first,
    /// that is enough.
    pub fn owes_server_close(self) -> bool {
        self.is_going_away() && !self.is_sending_ended()
    }

    /// Whether the peer has sent a close frame.
    pub fn is_close_received(self) -> bool {
        self.has(CLOSE_RECEIVED)
    }

    /// Whether the handler knows that the connection ends: a call has raised an exception, or the
    /// handler closes the connection itself.
    pub fn is_end_reported(self) -> bool {
        self.has(END_REPORTED | CLOSE_RECEIVED | SENDING_ENDED)
    }

    /// Whether the handler waits for the peer's close frame, for which it has limited time.
    pub fn awaits_close(self) -> bool {
        self.has(AWAITS_CLOSE)
    }

    /// Whether the server has ended both directions.
    pub fn is_cut(self) -> bool {
        self.has(CUT)
    }

    /// Whether the connection ends by a reset.
    pub fn is_reset(self) -> bool {
        self.has(RESET)
    }

    /// Whether a caller that holds a half of the stream must drop its socket.
    pub fn is_released(self) -> bool {
        self.has(RELEASED)
    }

    /// Whether the handler has ended, after which nobody is to use the connection.
    pub fn has_handler_ended(self) -> bool {
        self.has(HANDLER_ENDED)
    }

    /// Whether close frames were exchanged in both directions, so that nothing more will come.
    pub fn is_clean(self) -> bool {
        self.has(CLEAN)
    }

    /// The code of our close frame, 1005 if it has none; `None` if none was sent.
    pub fn code_sent(self) -> Option<CloseCode> {
        match self.code_at(0) {
            CloseCode(0) => None,
            code => Some(code),
        }
    }

    /// The code of the first close frame and the side that sent it; see [`Self::handler_ended`] for a
    /// connection without one.
    pub fn first_close(self) -> Option<(CloseCode, Side)> {
        let side = match (self.bits >> FIRST_SIDE) & 3 {
            CLIENT => Side::Client,
            SERVER => Side::Server,
            _ => return None,
        };
        Some((self.code_at(FIRST_CODE), side))
    }

    /// The state as a number.
    pub fn to_bits(self) -> u64 {
        self.bits
    }

    /// The state for a number from [`Self::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self { bits }
    }

    fn has(self, any_of: u64) -> bool {
        self.bits & any_of != 0
    }

    fn with(self, flags: u64) -> Self {
        Self { bits: self.bits | flags }
    }

    #[expect(clippy::cast_possible_truncation, reason = "sixteen bits are wanted")]
    fn code_at(self, shift: u32) -> CloseCode {
        CloseCode((self.bits >> shift) as u16)
    }

    fn sent(self, code: CloseCode) -> Self {
        let bits = self.bits & !u64::from(u16::MAX) | u64::from(code.0);
        Self { bits }.first(code, SERVER)
    }

    fn first(self, code: CloseCode, side: u64) -> Self {
        if self.first_close().is_some() {
            return self;
        }
        self.with((side << FIRST_SIDE) | (u64::from(code.0) << FIRST_CODE))
    }
}

#[cfg(test)]
mod tests;
