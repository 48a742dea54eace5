//! The answer that opens a connection (RFC 6455 4.2.2).

/// The status of an opening handshake that succeeds (RFC 6455 1.3).
pub const SWITCHING_PROTOCOLS: u16 = 101;

/// The status of one that succeeds over HTTP/2 (RFC 8441 5) or HTTP/3 (RFC 9220).
pub const OPENED: u16 = 200;

/// Whether a status opens a connection.
pub fn opens(status: u16) -> bool {
    matches!(status, SWITCHING_PROTOCOLS | OPENED)
}

/// The content of our answer 101.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// See [`super::Opening::accept`].
    pub accept: &'a str,
    /// The subprotocol that was chosen.
    pub protocol: Option<&'a str>,
    /// The value of the Sec-WebSocket-Extensions header.
    pub extensions: Option<&'a str>,
    /// Headers that the handler adds, in order.
    pub extra: &'a [(String, String)],
}

impl Answer<'_> {
    /// Formats the answer. This does not check extra headers: see [`super::is_header_safe`].
    pub fn format(&self) -> Vec<u8> {
        let mut text = String::with_capacity(160);
        text.push_str("HTTP/1.1 101 Switching Protocols\r\n");
        let mut header = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        };
        header("Upgrade", "websocket");
        header("Connection", "Upgrade");
        header("Sec-WebSocket-Accept", self.accept);
        if let Some(protocol) = self.protocol {
            header("Sec-WebSocket-Protocol", protocol);
        }
        if let Some(extensions) = self.extensions {
            header("Sec-WebSocket-Extensions", extensions);
        }
        for (name, value) in self.extra {
            header(name, value);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}
