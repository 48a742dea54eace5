//! `Alt-Svc`: where a client that does not use HTTP/3 yet finds it (RFC 7838 3).
//!
//! All answers have it, whatever their status. That includes the one that opens a WebSocket, as with
//! hypercorn and Caddy: some clients ask for nothing else.

use std::net::SocketAddr;

use crate::protocol::head::HTTP_3;

/// The header's name.
pub const ALT_SVC: &str = "Alt-Svc";

/// The header's value for an answer of this version; `None` if the answer has none. `port` is that
/// of HTTP/3, if the server supports it; 0 stands for that of `local`, the server's address.
pub(in crate::server) fn alternative(
    port: Option<u16>,
    version: &str,
    tls: bool,
    local: impl FnOnce() -> Option<SocketAddr>,
) -> Option<String> {
    let port = port.filter(|_| tls && version != HTTP_3)?;
    let port = if port == 0 { local()?.port() } else { port };
    Some(format!("h3=\":{port}\"; ma=86400"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::head::HTTP_2;

    #[test]
    fn answers_of_other_versions_over_tls_name_the_port() {
        let local = || Some(SocketAddr::from(([127, 0, 0, 1], 443)));
        let value = |port: u16| Some(format!("h3=\":{port}\"; ma=86400"));
        assert_eq!(alternative(Some(0), HTTP_2, true, local), value(443));
        assert_eq!(alternative(Some(8443), "HTTP/1.1", true, local), value(8443));
        assert_eq!(alternative(Some(0), "HTTP/1.1", true, || None), None);
        assert_eq!(alternative(Some(0), HTTP_3, true, local), None);
        assert_eq!(alternative(Some(0), HTTP_2, false, local), None);
        assert_eq!(alternative(None, HTTP_2, true, local), None);
    }
}
