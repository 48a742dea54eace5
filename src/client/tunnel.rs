//! Connects through a proxy: CONNECT (RFC 9110 9.3.6) and SOCKS 5 (RFC 1928).

use std::{borrow::Cow, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_socks::{tcp::Socks5Stream, Error, TargetAddr};

use super::{
    answer::Answer,
    error::ConnectError,
    first_bytes::FirstBytes,
    head::{HeadTap, Trace},
    proxy::Proxy,
};
use crate::os_error::strerror;

/// Asks an HTTP proxy to connect to `host:port`; an IPv6 address is in brackets.
pub(super) async fn http(
    stream: TcpStream,
    proxy: &Proxy,
    authority: &str,
    trace: Option<&Trace>,
) -> Result<TcpStream, ConnectError> {
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(credentials) = &proxy.credentials {
        head.push_str("Proxy-Authorization: ");
        head.push_str(&credentials.basic());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut tap = HeadTap::new(stream, trace);
    let refused = |reason: String, status| {
        let proxy = proxy.name();
        Err(ConnectError::Proxy { proxy, reason, status })
    };
    let exchange = async {
        tap.write_all(head.as_bytes()).await?;
        tap.flush().await?;
        // read the head and no byte after it
        tap.read_to_end(&mut Vec::new()).await
    };
    if let Err(error) = exchange.await {
        return refused(format!("ended the connection: {}", strerror(&error)), None);
    }
    let (stream, head, rest) = tap.into_parts();
    let Some(head) = head else {
        let reason = if rest.is_empty() {
            "ended the connection without an answer to CONNECT"
        } else {
            "does not answer CONNECT in HTTP; if it speaks SOCKS, write socks5://"
        };
        return refused(reason.to_owned(), None);
    };
    match Answer::parse(&head) {
        None => refused("does not answer CONNECT in HTTP".to_owned(), None),
        // bytes after the head are wrong: the client speaks first, with TLS and without
        Some(Answer { status: 200..=299, .. }) if !rest.is_empty() => {
            refused("sent something that cannot be the server's".to_owned(), None)
        }
        Some(Answer { status: 200..=299, .. }) => Ok(stream),
        Some(answer) => {
            let hint = hint(&answer, proxy);
            let Answer { status, phrase, .. } = answer;
            refused(
                format!("answered {status} {phrase} to CONNECT {authority}{hint}"),
                Some(status),
            )
        }
    }
}

/// What the user can do about the answer of an HTTP proxy.
fn hint(answer: &Answer, proxy: &Proxy) -> Cow<'static, str> {
    if answer.status == 407 {
        if let Some(schemes) = answer.schemes_but_basic("proxy-authenticate") {
            let wants = format!("; it wants credentials by {schemes}, and this client has Basic");
            return format!("{wants} alone: let the proxy offer Basic, or name another").into();
        }
    }
    let hint = match (answer.status, &proxy.credentials) {
        (407, None) => "; it wants credentials: write http://USER:PASSWORD@ before its host",
        (407, Some(_)) => "; it does not accept the credentials in its URL",
        (403, _) => "; it does not let this client reach that host and port",
        (405 | 501, _) => "; it does not do CONNECT, which WebSockets need",
        (502..=504, _) => "; it cannot reach the server",
        _ => "",
    };
    hint.into()
}

/// The destination in a request to a SOCKS proxy.
pub(super) enum Destination<'a> {
    /// A name that the proxy looks up.
    Name(&'a str, u16),
    Address(SocketAddr),
}

/// Asks a SOCKS proxy to connect to a server, which messages call `authority`.
pub(super) async fn socks(
    stream: TcpStream,
    proxy: &Proxy,
    asked: Destination<'_>,
    authority: &str,
) -> Result<TcpStream, ConnectError> {
    let asked = match asked {
        Destination::Name(name, port) => TargetAddr::Domain(name.into(), port),
        Destination::Address(address) => TargetAddr::Ip(address),
    };
    let stream = FirstBytes::of(stream);
    let received = stream.received().clone();
    let opened = match &proxy.credentials {
        None => Socks5Stream::connect_with_socket(stream, asked).await,
        Some(of) => {
            let (user, password) = (&of.user, &of.password);
            Socks5Stream::connect_with_password_and_socket(stream, asked, user, password).await
        }
    };
    opened.map(|opened| opened.into_inner().into_inner()).map_err(|error| {
        let had_credentials = proxy.credentials.is_some();
        let reason = undefined(&error, authority, &received.bytes())
            .unwrap_or_else(|| reason(&error, authority, had_credentials));
        ConnectError::Proxy { proxy: proxy.name(), reason, status: None }
    })
}

/// A number of a SOCKS proxy that this client does not know, in words: the method of authentication
/// (RFC 1928 3), or the reply that follows it (6). The crate has one error for both.
fn undefined(error: &Error, authority: &str, received: &[u8]) -> Option<String> {
    if !matches!(error, Error::UnknownAuthMethod) {
        return None;
    }
    // the answer to a user name and password has two bytes (RFC 1929 2)
    let reply = if received.get(1) == Some(&USER_AND_PASSWORD) { 4 } else { 2 };
    Some(match (received.get(reply + 1), received.get(1)?) {
        (Some(code), _) => {
            format!("cannot reach {authority}: its reply is {code}, which SOCKS 5 does not define")
        }
        (None, method) => format!("wants credentials by method {method}, which was not offered"),
    })
}

/// A method of authentication (RFC 1928 3).
const USER_AND_PASSWORD: u8 = 2;

/// The error of a SOCKS proxy in words (RFC 1928 3 and 6).
fn reason(error: &Error, authority: &str, had_credentials: bool) -> String {
    let unreached = match error {
        Error::GeneralSocksServerFailure => "it failed, and does not say why",
        Error::NetworkUnreachable => "the network is unreachable",
        Error::HostUnreachable => "the host is unreachable",
        Error::ConnectionRefused => "the connection is refused",
        Error::TtlExpired => "it took too long",
        Error::CommandNotSupported => "it does not make connections",
        Error::AddressTypeNotSupported => "it knows no such kind of address",
        Error::ConnectionNotAllowedByRuleset => {
            return format!("does not let this client reach {authority}");
        }
        Error::NoAcceptableAuthMethods if had_credentials => {
            return "takes neither these credentials nor none".to_owned();
        }
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            return "wants credentials: write socks5://USER:PASSWORD@ before its host".to_owned();
        }
        Error::PasswordAuthFailure(_) => {
            return "does not accept the credentials in its URL".to_owned();
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return "ended the connection; does it speak SOCKS 5?".to_owned();
        }
        Error::Io(error) => return format!("ended the connection: {}", strerror(error)),
        _ => return "does not answer as SOCKS 5 does; if it speaks HTTP, write http://".to_owned(),
    };
    format!("cannot reach {authority}: {unreached}")
}
