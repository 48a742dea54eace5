//! The opening handshake: URL, request, and a strict check of the answer.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{bail, ensure, Context, Result};

/// Where to connect, from a `ws://` URL.
#[derive(Clone, Debug)]
pub struct Target {
    pub addr: SocketAddrV4,
    host: String,
    path: String,
}

impl Target {
    /// Parses `ws://HOST:PORT/PATH`. HOST must be loopback: this tool is not
    /// meant for anyone else's server.
    pub fn parse(url: &str) -> Result<Target> {
        let rest = url.strip_prefix("ws://").context("the URL must start with ws://")?;
        let (authority, path) = match rest.find('/') {
            Some(i) => (&rest[..i], &rest[i..]),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().context("bad port in the URL")?),
            None => (authority, 80),
        };
        let ip = match host {
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => host.parse().context("the URL's host must be an IPv4 address or localhost")?,
        };
        ensure!(ip.is_loopback(), "only loopback addresses are allowed, not {ip}");
        Ok(Target {
            addr: SocketAddrV4::new(ip, port),
            host: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The request head for the `n`th connection.
    pub fn request(&self, n: u64, extensions: Option<&str>) -> Vec<u8> {
        let offer = extensions
            .map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"))
            .unwrap_or_default();
        let Self { path, host, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nOrigin: http://{host}\r\n\
             {offer}\r\n",
            key(n),
        );
        request.into_bytes()
    }
}

/// What the server agreed to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Length of the response head, so that what follows is frame data.
    pub head_len: usize,
    /// The Sec-WebSocket-Extensions header, when there was one.
    pub extensions: Option<String>,
}

/// Checks a response; `None` while it is incomplete.
pub fn check_response(response: &[u8], n: u64) -> Result<Option<Accepted>> {
    let Some(end) = response.windows(4).position(|w| w == b"\r\n\r\n") else {
        ensure!(response.len() < 64 * 1024, "response head too long");
        return Ok(None);
    };
    let head = std::str::from_utf8(&response[..end]).context("response head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 101"), "not upgraded: {status}");

    let (mut upgrade, mut connection, mut accept) = (false, false, None);
    let mut accepted = Accepted { head_len: end + 4, extensions: None };
    for line in lines {
        let (name, value) = line.split_once(':').context("malformed response header")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => upgrade = value.eq_ignore_ascii_case("websocket"),
            "connection" => {
                connection = value.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"));
            }
            "sec-websocket-accept" => accept = Some(value),
            "sec-websocket-extensions" => accepted.extensions = Some(value.to_owned()),
            _ => {}
        }
    }
    ensure!(upgrade, "no Upgrade: websocket in the response");
    ensure!(connection, "no Connection: Upgrade in the response");
    match accept {
        Some(value) if value == accept_for(&key(n)) => Ok(Some(accepted)),
        Some(_) => bail!("wrong Sec-WebSocket-Accept"),
        None => bail!("no Sec-WebSocket-Accept"),
    }
}

/// Sixteen key bytes that differ for every connection (splitmix64).
fn key(n: u64) -> String {
    let mut state = n.wrapping_mul(2).wrapping_add(0x5EED);
    let mut bytes = [0u8; 16];
    for half in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        half.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    base64(&bytes)
}

fn accept_for(key: &str) -> String {
    let mut sha = sha1_smol::Sha1::new();
    sha.update(key.as_bytes());
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&sha.digest().bytes())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            out.push(if i <= group.len() {
                char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_accept_of_the_rfc() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
    }

    #[test]
    fn refuses_urls_beyond_loopback() {
        let target = Target::parse("ws://127.0.0.1:8080/echo?x=1").unwrap();
        assert_eq!((target.addr.port(), target.path.as_str()), (8080, "/echo?x=1"));
        assert_eq!(Target::parse("ws://localhost:1").unwrap().path, "/");
        assert!(Target::parse("ws://10.0.0.1:80/").is_err());
        assert!(Target::parse("http://127.0.0.1/").is_err());
    }

    #[test]
    fn checks_accept_value() {
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n\x01",
            accept_for(&key(7))
        );
        let accepted = check_response(good.as_bytes(), 7).unwrap().unwrap();
        assert_eq!(accepted.head_len, good.len() - 1);
        assert_eq!(check_response(&good.as_bytes()[..40], 7).unwrap(), None);
        assert!(check_response(good.as_bytes(), 8).is_err());
        assert!(check_response(b"HTTP/1.1 200 OK\r\n\r\n", 7).is_err());
    }
}
