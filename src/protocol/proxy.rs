//! The PROXY protocol, by which a proxy reports the address of its client: a header in text
//! (version 1) or in binary (version 2), before the first byte of the client.
//!
//! Sections are those of the specification that `HAProxy` publishes as `proxy-protocol.txt`. Which
//! peers may send a header is decided elsewhere, see [`super::trust`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// A header of version 1 is at most this long, its line end included (2.1).
const MAX_LINE: usize = 107;

/// The longest header of version 2, which is nginx's limit. Addresses have at most 216 bytes, and
/// with the values that proxies add, a header is usually shorter than 536 bytes (2.2).
const MAX_BINARY: usize = 4096;

const LINE_START: &[u8] = b"PROXY ";

/// No other protocol begins with these bytes (2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of the rest.
const BINARY_START: usize = SIGNATURE.len() + 4;

/// The source of a connection according to its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself, for instance for a health check: the source is the peer.
    Peer,
    /// Unknown: the proxy cannot express the address.
    Unknown,
    /// A client's.
    Client(SocketAddr),
    /// A client that has reached the proxy by a Unix socket.
    Unix,
}

/// Why a connection does not begin with a header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The connection begins with something else.
    #[error("no PROXY protocol header")]
    Missing,
    /// The connection ends within the header.
    #[error("PROXY protocol header cut short")]
    CutShort,
    /// The header is too long.
    #[error("PROXY protocol header of more than {0} bytes")]
    TooLong(usize),
    /// A line that breaks the grammar (2.1).
    #[error("malformed PROXY protocol line '{0}'")]
    Line(String),
    /// The byte with version and command has another value than 0x20 and 0x21.
    #[error("PROXY protocol version and command 0x{0:02x}; only 0x20 and 0x21 are known")]
    Command(u8),
    /// The byte with address family and transport has a value that must not be sent.
    #[error("PROXY protocol address family and transport 0x{0:02x} are unknown")]
    Family(u8),
    /// The addresses do not fit into the length.
    #[error("PROXY protocol addresses of {0} bytes; their family needs {1}")]
    ShortAddresses(usize, usize),
}

/// Reads the first bytes of a connection. Returns the source and the header's length when the
/// header is complete. Until then, all of `buffer` belongs to the header.
///
/// # Errors
/// As soon as the bytes cannot become a header.
pub fn read(buffer: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    if begins(buffer, LINE_START) {
        read_line(buffer)
    } else if begins(buffer, SIGNATURE) {
        read_binary(buffer)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether `buffer` and `start` agree up to the length of the shorter one.
fn begins(buffer: &[u8], start: &[u8]) -> bool {
    buffer.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn read_line(buffer: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    let window = &buffer[..buffer.len().min(MAX_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < MAX_LINE { Ok(None) } else { Err(ProxyError::TooLong(MAX_LINE)) };
    };
    let line = &window[..end];
    let malformed = || ProxyError::Line(line.escape_ascii().to_string());
    let text = line.strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let source = text.and_then(parse_line).ok_or_else(malformed)?;
    Ok(Some((source, end + 1)))
}

/// `PROXY TCP4 source destination source-port destination-port`, with single spaces. Everything
/// after `UNKNOWN` is ignored.
fn parse_line(line: &str) -> Option<Source> {
    let mut words = line.split(' ').skip(1);
    let is_ipv6 = match words.next()? {
        "TCP4" => false,
        "TCP6" => true,
        "UNKNOWN" => return Some(Source::Unknown),
        _ => return None,
    };
    let address =
        |word: &str| word.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == is_ipv6);
    let source = address(words.next()?)?;
    address(words.next()?)?;
    let port = parse_port(words.next()?)?;
    parse_port(words.next()?)?;
    words.next().is_none().then_some(Source::Client(SocketAddr::new(source, port)))
}

/// A decimal number without a sign or leading zeroes.
fn parse_port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = word == "0" || !word.starts_with('0');
    word.parse().ok().filter(|_| is_plain && is_short)
}

fn read_binary(buffer: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    let Some((start, rest)) = buffer.split_first_chunk::<BINARY_START>() else { return Ok(None) };
    let [.., command, family, high, low] = *start;
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::Command(command));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if BINARY_START + length > MAX_BINARY {
        return Err(ProxyError::TooLong(MAX_BINARY));
    }
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(ProxyError::Family(family));
    }
    let Some(addresses) = rest.get(..length) else { return Ok(None) };
    let source = if command == 0x20 { Source::Peer } else { parse_addresses(family, addresses)? };
    Ok(Some((source, BINARY_START + length)))
}

/// Addresses of source and destination, then their ports. Type-length-values may follow, which say
/// nothing about the source. The transport does not matter: with HTTP/3, clients reach a proxy by
/// datagrams.
fn parse_addresses(family: u8, addresses: &[u8]) -> Result<Source, ProxyError> {
    let needed = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if addresses.len() < needed {
        return Err(ProxyError::ShortAddresses(addresses.len(), needed));
    }
    let client = |address: IpAddr, port: [u8; 2]| {
        Source::Client(SocketAddr::new(address, u16::from_be_bytes(port)))
    };
    Ok(match (family >> 4, family & 0x0f) {
        (0, _) | (_, 0) => Source::Unknown,
        (1, _) => match *addresses {
            [a, b, c, d, _, _, _, _, high, low, ..] => {
                client(Ipv4Addr::new(a, b, c, d).into(), [high, low])
            }
            _ => Source::Unknown,
        },
        (2, _) => match (addresses.first_chunk::<16>(), addresses.get(32..)) {
            (Some(address), Some(&[high, low, ..])) => {
                client(Ipv6Addr::from(*address).into(), [high, low])
            }
            _ => Source::Unknown,
        },
        _ => Source::Unix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn client(address: &str) -> Source {
        Source::Client(address.parse().expect("an address"))
    }

    /// Reads a whole header with bytes behind it, as it comes in pieces of any size.
    fn read_whole(header: &[u8]) -> Source {
        let with_more = [header, b"GET / HTTP/1.1\r\n"].concat();
        for end in 0..header.len() {
            assert_eq!(read(&with_more[..end]), Ok(None), "{end}");
        }
        let (source, length) = read(&with_more).expect("valid").expect("whole");
        assert_eq!(length, header.len());
        source
    }

    #[test]
    fn reads_lines() {
        let line = |line: &str| read_whole(format!("{line}\r\n").as_bytes());
        assert_eq!(line("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443"), client("203.0.113.7:56324"));
        assert_eq!(line("PROXY TCP6 2001:db8::7 ::1 65535 0"), client("[2001:db8::7]:65535"));
        assert_eq!(line("PROXY UNKNOWN"), Source::Unknown);
        assert_eq!(line("PROXY UNKNOWN ffff::1 whatever\t"), Source::Unknown);
        // the longest one that the specification knows
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {long} {long} 65535 65535");
        assert_eq!(longest.len() + 2, MAX_LINE);
        assert_eq!(line(&longest), Source::Unknown);
    }

    #[test]
    fn refuses_lines_that_break_the_grammar() {
        for line in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 2",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3",
            "PROXY TCP4 1.2.3.04 1.2.3.4 1 2",
            "PROXY TCP4 1.2.3.4 1.2.3 1 2",
            "PROXY TCP4 ::1 ::1 1 2",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 ",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\x1b",
            "PROXY UNKNOWNS",
        ] {
            let error = read(format!("{line}\r\n").as_bytes());
            assert!(matches!(error, Err(ProxyError::Line(_))), "{line:?}: {error:?}");
        }
        // a line ends with CR LF
        assert!(matches!(read(b"PROXY UNKNOWN\n"), Err(ProxyError::Line(_))));
        // for a log
        let error = read(b"PROXY \x1b\xff\r\n").expect_err("malformed");
        assert_eq!(error.to_string(), "malformed PROXY protocol line 'PROXY \\x1b\\xff\\r'");
    }

    #[test]
    fn a_line_ends_in_time() {
        let line = |size: usize| [b"PROXY UNKNOWN".to_vec(), vec![b'x'; size - 13]].concat();
        assert_eq!(read(&line(MAX_LINE - 1)), Ok(None));
        assert_eq!(read(&line(MAX_LINE)), Err(ProxyError::TooLong(MAX_LINE)));
        assert_eq!(
            read(&[line(MAX_LINE), b"\r\n".to_vec()].concat()),
            Err(ProxyError::TooLong(MAX_LINE))
        );
    }

    #[test]
    fn what_is_something_else_is_told_from_its_first_byte_on() {
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"G"), Err(ProxyError::Missing));
        assert_eq!(read(b"PROPFIND / HTTP/1.1"), Err(ProxyError::Missing));
        assert_eq!(read(b"\r\n\r\nGET"), Err(ProxyError::Missing));
        // the beginning of a ClientHello
        assert_eq!(read(b"\x16\x03\x01"), Err(ProxyError::Missing));
    }

    #[test]
    fn reads_binary_headers() {
        // source 203.0.113.7 port 256, destination 10.0.0.1 port 443
        let ipv4 = [203, 0, 113, 7, 10, 0, 0, 1, 1, 0, 1, 0xbb];
        assert_eq!(read_whole(&binary(0x21, 0x11, &ipv4)), client("203.0.113.7:256"));
        assert_eq!(read_whole(&binary(0x21, 0x12, &ipv4)), client("203.0.113.7:256"));
        let address: Ipv6Addr = "2001:db8::7".parse().expect("an address");
        let ipv6 = [&address.octets()[..], &[0; 16], &[2, 1, 0, 80]].concat();
        assert_eq!(read_whole(&binary(0x21, 0x21, &ipv6)), client("[2001:db8::7]:513"));
        assert_eq!(read_whole(&binary(0x21, 0x31, &[b'/'; 216])), Source::Unix);
        // of no kind that is known
        assert_eq!(read_whole(&binary(0x21, 0x00, &[])), Source::Unknown);
        assert_eq!(read_whole(&binary(0x21, 0x10, &ipv4)), Source::Unknown);
        // the proxy's own, whatever it says of addresses
        assert_eq!(read_whole(&binary(0x20, 0x00, &[])), Source::Peer);
        assert_eq!(read_whole(&binary(0x20, 0x11, &ipv4)), Source::Peer);
        // a type-length-value: PP2_TYPE_NOOP
        let more = [&ipv4[..], &[4, 0, 3, 0, 0, 0]].concat();
        assert_eq!(read_whole(&binary(0x21, 0x11, &more)), client("203.0.113.7:256"));
    }

    #[test]
    fn refuses_binary_headers_of_another_shape() {
        let error = |command, family, rest: &[u8]| read(&binary(command, family, rest));
        assert_eq!(error(0x22, 0x11, &[0; 12]), Err(ProxyError::Command(0x22)));
        assert_eq!(error(0x11, 0x11, &[0; 12]), Err(ProxyError::Command(0x11)));
        assert_eq!(error(0x21, 0x41, &[0; 12]), Err(ProxyError::Family(0x41)));
        assert_eq!(error(0x21, 0x13, &[0; 12]), Err(ProxyError::Family(0x13)));
        assert_eq!(error(0x21, 0x11, &[0; 11]), Err(ProxyError::ShortAddresses(11, 12)));
        assert_eq!(error(0x21, 0x21, &[0; 12]), Err(ProxyError::ShortAddresses(12, 36)));
        assert_eq!(error(0x21, 0x31, &[0; 36]), Err(ProxyError::ShortAddresses(36, 216)));
        let longest = MAX_BINARY - BINARY_START;
        assert!(error(0x21, 0x11, &vec![0; longest]).is_ok());
        // told before all of it has come
        let header = &binary(0x21, 0x11, &vec![0; longest + 1])[..BINARY_START];
        assert_eq!(read(header), Err(ProxyError::TooLong(MAX_BINARY)));
    }
}
