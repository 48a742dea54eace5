//! Incremental UTF-8 validation (RFC 6455 8.1): the first byte that cannot be part of a valid text
//! is an error, even if the rest of the text has not been received yet.

/// Below this size the standard library's check is quicker, since it needs no dispatch. Checking
/// for ASCII only is quicker still, by two thirds (3 ns instead of 9 for 32 bytes).
const SIMD_MIN: usize = 64;

/// Whether a complete text is valid.
pub fn is_valid(text: &[u8]) -> bool {
    if text.len() < SIMD_MIN {
        text.is_ascii() || std::str::from_utf8(text).is_ok()
    } else {
        simdutf8::basic::from_utf8(text).is_ok()
    }
}

/// The position where a text is not valid UTF-8: the number of bytes before the first bad sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadUtf8 {
    /// Bytes of the whole text, from its beginning, that are valid.
    pub valid_up_to: usize,
}

/// Checks a text that is received in pieces.
#[derive(Debug, Default, Clone)]
pub struct Validator {
    /// The beginning of an incomplete sequence.
    partial: [u8; 4],
    partial_len: usize,
    /// The number of valid bytes so far, without those in `partial`.
    valid: usize,
}

impl Validator {
    /// Takes the next piece.
    ///
    /// # Errors
    /// At the first byte that makes the text invalid, whatever follows.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), BadUtf8> {
        while self.partial_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.partial[self.partial_len] = byte;
            let sequence = &self.partial[..=self.partial_len];
            match std::str::from_utf8(sequence) {
                Ok(_) => {
                    self.valid += sequence.len();
                    self.partial_len = 0;
                }
                Err(error) if error.error_len().is_none() => self.partial_len += 1,
                Err(_) => return Err(BadUtf8 { valid_up_to: self.valid }),
            }
            piece = rest;
        }
        match check(piece) {
            Ok(()) => self.valid += piece.len(),
            Err((valid, incomplete)) => {
                self.valid += valid;
                if !incomplete {
                    return Err(BadUtf8 { valid_up_to: self.valid });
                }
                let tail = &piece[valid..];
                self.partial[..tail.len()].copy_from_slice(tail);
                self.partial_len = tail.len();
            }
        }
        Ok(())
    }

    /// Ends the text and makes the validator ready for the next one.
    ///
    /// # Errors
    /// If the text ends inside a sequence.
    pub fn finish(&mut self) -> Result<(), BadUtf8> {
        let cut = self.partial_len > 0;
        let valid_up_to = self.valid;
        *self = Self::default();
        if cut {
            Err(BadUtf8 { valid_up_to })
        } else {
            Ok(())
        }
    }
}

/// On error, the number of valid bytes, and whether only an incomplete sequence follows them.
fn check(piece: &[u8]) -> Result<(), (usize, bool)> {
    if piece.len() < SIMD_MIN {
        if piece.is_ascii() {
            return Ok(());
        }
        return std::str::from_utf8(piece)
            .map(|_| ())
            .map_err(|error| (error.valid_up_to(), error.error_len().is_none()));
    }
    simdutf8::compat::from_utf8(piece)
        .map(|_| ())
        .map_err(|error| (error.valid_up_to(), error.error_len().is_none()))
}

/// The length of the bytes before a character that is cut at the end (RFC 3629 3). Bytes that are
/// not UTF-8 do not count as cut: the decoder will report them.
pub fn whole_characters(piece: &[u8]) -> usize {
    // a character has at most four bytes, so that at most three are there
    let tails = piece.len().saturating_sub(3)..piece.len();
    tails.rev().find(|&start| begins_character(&piece[start..])).unwrap_or(piece.len())
}

/// Whether bytes are the beginning of one character, without its end.
fn begins_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_error(pieces: &[&[u8]]) -> Option<(usize, usize)> {
        let mut validator = Validator::default();
        for (index, piece) in pieces.iter().enumerate() {
            if let Err(error) = validator.push(piece) {
                return Some((index, error.valid_up_to));
            }
        }
        validator.finish().err().map(|error| (pieces.len(), error.valid_up_to))
    }

    #[test]
    fn accepts_a_character_split_anywhere() {
        let text = "κό日😀".as_bytes();
        for cut in 0..=text.len() {
            assert_eq!(first_error(&[&text[..cut], &text[cut..]]), None, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(first_error(&bytes), None);
    }

    #[test]
    fn short_and_long_texts_are_judged_alike() {
        for repeats in [1, 31, 32, 33, 100] {
            let text = "é".repeat(repeats);
            assert!(is_valid(text.as_bytes()), "{repeats}");
            assert!(!is_valid(&text.as_bytes()[1..]), "{repeats}");
        }
    }

    #[test]
    fn counts_the_bytes_of_a_character_in_pieces() {
        assert_eq!(first_error(&["aé".as_bytes(), b"\xc3", b"\xa9\xff"]), Some((2, 5)));
        assert_eq!(first_error(&[b"\xe2", b"\x82", b"\xacab\xff"]), Some((2, 5)));
    }

    #[test]
    fn refuses_at_the_first_bad_byte() {
        // F4 90 is above U+10FFFF whatever follows; ED A0 is a surrogate; C0 is never valid
        assert_eq!(first_error(&[b"ab\xf4", b"\x90"]), Some((1, 2)));
        assert_eq!(first_error(&[b"\xed", b"\xa0"]), Some((1, 0)));
        assert_eq!(first_error(&[b"abc\xc0"]), Some((0, 3)));
        let long = [&[b'x'; 100][..], b"\xff"].concat();
        assert_eq!(first_error(&[&long]), Some((0, 100)));
    }

    #[test]
    fn refuses_a_text_that_ends_inside_a_character() {
        assert_eq!(first_error(&[b"ab\xe6\x97"]), Some((1, 2)));
    }

    #[test]
    fn is_ready_for_the_next_text_after_finish() {
        let mut validator = Validator::default();
        assert!(validator.push(b"\xe6").is_ok());
        assert!(validator.finish().is_err());
        assert!(validator.push(b"ok").is_ok());
        assert!(validator.finish().is_ok());
    }

    #[test]
    fn a_character_is_cut_where_its_end_is_missing() {
        for text in ["a", "é", "字", "😀"] {
            let bytes = [b"xyz".as_slice(), text.as_bytes()].concat();
            for end in 0..=bytes.len() {
                let whole = whole_characters(&bytes[..end]);
                let expected = if end == bytes.len() { end } else { end.min(3) };
                assert_eq!(whole, expected, "{text} {end}");
            }
        }
    }

    #[test]
    fn what_is_no_utf_8_is_left_to_the_decoder() {
        for bytes in [
            &b"\x80"[..],
            b"ab\xff",
            b"\x80\x80\x80\x80",
            b"\xc3\xc3(",
            b"\xe1x",        // a first byte of three, and no second one
            b"\xed\xa0",     // a surrogate
            b"\xf4\x90",     // above U+10FFFF
            b"\xf0\x80\x80", // four bytes for what needs three at most
        ] {
            assert_eq!(whole_characters(bytes), bytes.len(), "{bytes:?}");
        }
    }
}
