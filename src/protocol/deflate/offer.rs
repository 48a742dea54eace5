//! The parameters of permessage-deflate (RFC 7692 7.1): the server checks offers, the client checks
//! agreements.

/// LZ77 window size as an exponent of two (RFC 7692 7.1.2): 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// The largest window, and the default.
    pub const MAX: Self = Self(15);

    /// Makes a window size of its exponent.
    ///
    /// # Errors
    /// Outside 8 to 15.
    pub fn new(bits: i64) -> Result<Self, String> {
        match u8::try_from(bits) {
            Ok(bits @ 8..=15) => Ok(Self(bits)),
            _ => Err(format!("window bits {bits} out of range 8 to 15")),
        }
    }

    /// Parses a parameter's value: decimal, no leading zero.
    ///
    /// # Errors
    /// A sentence that names the value.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let value = value.ok_or_else(|| "Value is required".to_owned())?;
        let canonical = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u8>() {
            Ok(bits @ 8..=15) if canonical => Ok(Self(bits)),
            _ => Err(format!("Invalid value: '{value}'")),
        }
    }

    /// The exponent.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The exponent to compress with. zlib has no window of 256 bytes. With one of 512, it never
    /// refers back further than 250 bytes, so a peer with a window of 256 can inflate the result.
    pub(super) fn for_compressor(self) -> u8 {
        self.0.max(9)
    }
}

/// An acceptable offer of permessage-deflate (RFC 7692 7.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// The window that the client can inflate with.
    pub server_max_window_bits: Option<WindowBits>,
    /// The client inflates every message on its own.
    pub server_no_context_takeover: bool,
    /// The client lets us choose its window, up to this one.
    pub client_max_window_bits: Option<WindowBits>,
    /// The client will deflate every message on its own.
    pub client_no_context_takeover: bool,
}

impl Offer {
    /// Checks the parameters of an offer. A repeated parameter counts once, the first time, as in
    /// pywebsocket.
    ///
    /// # Errors
    /// A sentence that names the parameter for which the offer is declined.
    pub fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut offer = Self::default();
        let mut seen = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let bad = |reason: String| format!("Bad {name} parameter: {reason}");
            match (name, value) {
                ("server_max_window_bits", _) => {
                    offer.server_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("client_max_window_bits", None) => {
                    offer.client_max_window_bits = Some(WindowBits::MAX);
                }
                ("client_max_window_bits", Some(_)) => {
                    offer.client_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("server_no_context_takeover", None) => offer.server_no_context_takeover = true,
                ("client_no_context_takeover", None) => offer.client_no_context_takeover = true,
                ("server_no_context_takeover" | "client_no_context_takeover", Some(value)) => {
                    return Err(bad(format!("it must not have a value: '{value}'")));
                }
                _ => return Err(format!("Unknown parameter: '{name}'")),
            }
        }
        Ok(offer)
    }
}

/// What a server agreed to (RFC 7692 7.1), for the client that offered it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The server's window is at most this one.
    pub server_max_window_bits: Option<WindowBits>,
    /// The server deflates every message on its own.
    pub server_no_context_takeover: bool,
    /// Our window must be at most this one.
    pub client_max_window_bits: Option<WindowBits>,
    /// We must deflate every message on its own.
    pub client_no_context_takeover: bool,
}

impl Agreement {
    /// Checks the parameters of an agreement to an offer that had `client_max_window_bits`.
    ///
    /// # Errors
    /// A sentence that names the parameter for which the connection must be failed (RFC 7692 7.1:
    /// unknown, repeated, or a value that it cannot have; a window must have one).
    pub fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut agreement = Self::default();
        let mut seen = Vec::new();
        for (name, value) in parameters {
            let bad = |reason: String| format!("Bad {name} parameter: {reason}");
            if seen.contains(&name) {
                return Err(bad("it is repeated".to_owned()));
            }
            seen.push(name);
            match (name, value) {
                ("server_max_window_bits", _) => {
                    agreement.server_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("client_max_window_bits", _) => {
                    agreement.client_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("server_no_context_takeover", None) => agreement.server_no_context_takeover = true,
                ("client_no_context_takeover", None) => agreement.client_no_context_takeover = true,
                ("server_no_context_takeover" | "client_no_context_takeover", Some(value)) => {
                    return Err(bad(format!("it must not have a value: '{value}'")));
                }
                _ => return Err(format!("Unknown parameter: '{name}'")),
            }
        }
        Ok(agreement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_8_to_15_bits() {
        for bits in 8..=15 {
            let window = WindowBits::new(bits).expect("in range");
            assert_eq!(i64::from(window.bits()), bits);
            assert_eq!(WindowBits::parse(Some(&bits.to_string())), Ok(window));
        }
        for bits in [-1, 7, 16, 256 + 8] {
            let expected = Err(format!("window bits {bits} out of range 8 to 15"));
            assert_eq!(WindowBits::new(bits), expected);
            assert!(WindowBits::parse(Some(&bits.to_string())).is_err(), "{bits}");
        }
    }

    #[test]
    fn offers_are_judged_by_rfc_7692_7_1() {
        let parse = |parameters: &[(&'static str, Option<&'static str>)]| {
            Offer::parse(parameters.iter().copied())
        };
        assert_eq!(parse(&[]), Ok(Offer::default()));
        let offer = parse(&[
            ("client_max_window_bits", None),
            ("server_max_window_bits", Some("10")),
            ("client_no_context_takeover", None),
            ("server_max_window_bits", Some("11")),
        ]);
        assert_eq!(
            offer,
            Ok(Offer {
                server_max_window_bits: Some(WindowBits(10)),
                server_no_context_takeover: false,
                client_max_window_bits: Some(WindowBits::MAX),
                client_no_context_takeover: true,
            })
        );
        let offer = parse(&[("server_no_context_takeover", None)]);
        assert_eq!(offer, Ok(Offer { server_no_context_takeover: true, ..Offer::default() }));
        for bad in ["010", "", "ten", "+10", "10.0"] {
            assert!(parse(&[("server_max_window_bits", Some(bad))]).is_err(), "{bad}");
        }
        assert!(parse(&[("server_max_window_bits", None)]).is_err());
        assert!(parse(&[("server_no_context_takeover", Some("1"))]).is_err());
        assert!(parse(&[("Server_No_Context_Takeover", None)]).is_err());
    }

    #[test]
    fn agreements_are_judged_by_rfc_7692_7_1() {
        let parse = |parameters: &[(&'static str, Option<&'static str>)]| {
            Agreement::parse(parameters.iter().copied())
        };
        assert_eq!(parse(&[]), Ok(Agreement::default()));
        let agreement =
            parse(&[("client_max_window_bits", Some("8")), ("server_no_context_takeover", None)]);
        assert_eq!(
            agreement,
            Ok(Agreement {
                client_max_window_bits: Some(WindowBits(8)),
                server_no_context_takeover: true,
                ..Agreement::default()
            })
        );
        let agreement =
            parse(&[("server_max_window_bits", Some("9")), ("client_no_context_takeover", None)]);
        assert_eq!(
            agreement,
            Ok(Agreement {
                server_max_window_bits: Some(WindowBits(9)),
                client_no_context_takeover: true,
                ..Agreement::default()
            })
        );
        // an offer may leave its value out, an agreement may not
        assert!(parse(&[("client_max_window_bits", None)]).is_err());
        assert!(parse(&[("server_max_window_bits", Some("16"))]).is_err());
        assert!(parse(&[("client_no_context_takeover", Some("1"))]).is_err());
        assert!(parse(&[("x", None)]).is_err());
        // an offer's repetition is passed over, an agreement's fails the connection
        assert!(parse(&[("client_no_context_takeover", None); 2]).is_err());
    }
}
