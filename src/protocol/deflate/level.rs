//! The compression level.

/// zlib's compression level: 0 to 9, from no compression to the fewest bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeflateLevel(u8);

impl DeflateLevel {
    /// The quickest level that compresses. It uses the fixed code of RFC 1951 3.2.6, while higher
    /// levels make a code for every message. Data that cannot be compressed grows by 5 %.
    pub const FASTEST: Self = Self(1);
    /// The level of pywebsocket.
    pub const PYWEBSOCKET: Self = Self(6);

    /// Makes a level of a number.
    ///
    /// # Errors
    /// Outside 0 to 9.
    pub fn new(level: i64) -> Result<Self, String> {
        match u8::try_from(level) {
            Ok(level @ 0..=9) => Ok(Self(level)),
            _ => Err(format!("compression level {level} out of range 0 to 9")),
        }
    }

    /// The level as a number.
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for DeflateLevel {
    /// The quickest level. It takes an eighth of the time of level 6, and produces two fifths more
    /// bytes. If bytes cost more than time, choose a higher level. For texts of 1 KiB that are like
    /// JSON, in a stream of such texts:
    ///
    /// | level | time | bytes |
    /// |---|---|---|
    /// | 1 | 2.2 µs | 263 |
    /// | 2 | 8 µs | 216 |
    /// | 4 | 11 µs | 188 |
    /// | 6 | 16 µs | 184 |
    /// | 9 | 23 µs | 179 |
    ///
    /// and for one of 32 bytes 0.1 µs and 11 bytes at level 1, 2 µs and 9 bytes at level 6
    /// (`benches/protocol.rs`, zlib-rs 0.6.8, one core of an AMD EPYC with Zen 4).
    fn default() -> Self {
        Self::FASTEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_zlib() {
        assert_eq!(DeflateLevel::new(0).map(DeflateLevel::level), Ok(0));
        assert_eq!(DeflateLevel::new(1), Ok(DeflateLevel::FASTEST));
        assert_eq!(DeflateLevel::new(6), Ok(DeflateLevel::PYWEBSOCKET));
        assert_eq!(DeflateLevel::new(9).map(DeflateLevel::level), Ok(9));
        for level in [-1, 10, 256, i64::MAX] {
            assert_eq!(
                DeflateLevel::new(level),
                Err(format!("compression level {level} out of range 0 to 9"))
            );
        }
    }
}
