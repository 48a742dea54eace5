//! `ReactorToken`: a socket's place in a reactor, as a token of mio.

use mio::Token;

/// A socket's place in a reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReactorToken {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ReactorToken {
    /// A number that is unique among the current sockets of the reactor.
    pub fn number(self) -> u32 {
        self.index
    }

    pub(super) fn token(self) -> Token {
        Token(((self.generation as usize) << 32) | self.index as usize)
    }

    pub(super) fn of(token: Token) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "taken apart into its halves")]
        Self { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}
