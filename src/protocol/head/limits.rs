//! Limits on the size of a request head, and the answers to invalid heads.

/// Longest header line, its line end included (as `http.client`).
pub const MAX_HEADER_LINE: usize = 65536;

/// Room for so many lines at first: most heads have fewer.
pub(super) const USUAL_LINES: usize = 16;

/// How large a request head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line, its line end included.
    pub request_line_bytes: usize,
    /// Bytes of all header lines, the blank one included.
    pub header_bytes: usize,
    /// Lines of headers, the blank one included.
    pub header_lines: usize,
}

impl HeadLimits {
    /// No limits, for heads that have been checked before.
    pub const NONE: Self =
        Self { request_line_bytes: usize::MAX, header_bytes: usize::MAX, header_lines: usize::MAX };
}

/// pywebsocket's limits, which are those of `http.server` and `http.client`.
impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line_bytes: 65536, header_lines: 100, ..Self::NONE }
    }
}

/// Why a head is refused, and with which answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// 414.
    UriTooLong,
    /// 431.
    LineTooLong,
    /// 431.
    TooManyHeaders,
    /// 431.
    HeadersTooLarge,
    /// 400: TLS on a port without TLS.
    Tls,
    /// 400: plain HTTP on a TLS port.
    PlainText,
    /// 400, with the version found.
    BadVersion(String),
    /// 505, with the version found.
    UnsupportedVersion(String),
    /// 400, with the request line.
    BadSyntax(String),
}

impl HeadError {
    /// The status code and the reason phrase of the answer.
    pub fn answer(&self) -> (u16, String) {
        match self {
            Self::UriTooLong => (414, "Request-URI Too Long".to_owned()),
            Self::LineTooLong => (431, "Line too long".to_owned()),
            Self::TooManyHeaders => (431, "Too many headers".to_owned()),
            Self::HeadersTooLarge => (431, "Request Header Fields Too Large".to_owned()),
            Self::Tls => (400, "This port does not speak TLS; use http: or ws:".to_owned()),
            Self::PlainText => (400, "This port speaks TLS; use https: or wss:".to_owned()),
            Self::BadVersion(version) => (400, format!("Bad request version ('{version}')")),
            Self::UnsupportedVersion(version) => (505, format!("Invalid HTTP version ({version})")),
            Self::BadSyntax(line) => (400, format!("Bad request syntax ('{line}')")),
        }
    }
}
