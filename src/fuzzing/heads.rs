//! Request heads: their lines, the opening handshake in them, request targets, extensions.

use crate::protocol::{
    deflate::Offer,
    extension, grammar,
    handshake::{compute_accept, decode_key, is_header_safe, Answer, Opening},
    head::{latin1, HeadError, HeadReader, RequestHead},
    negotiate,
    uri::{parse, split_resource, Target},
    HandshakeError,
};

/// Parses a Sec-WebSocket-Extensions value, formats it and parses it again; judges what it offers,
/// and what it agrees to in an answer.
///
/// # Panics
/// If an invariant is broken.
pub fn extension_header(data: &[u8]) {
    let text: String = data.iter().copied().map(char::from).collect();
    if let Ok(tokens) = grammar::parse_token_list(&text) {
        assert!(tokens.iter().all(|token| grammar::is_token(token)));
        assert_eq!(grammar::parse_token_list(&tokens.join(", ")), Ok(tokens));
    }
    assert!(!matches!(negotiate::agreed(Some(&text), false), Ok(Some(_))));
    let agreed = negotiate::agreed(Some(&text), true);
    let Ok(extensions) = extension::parse(&text) else {
        assert!(agreed.is_err());
        return;
    };
    if let Ok(agreement) = agreed {
        assert!(agreement.is_some() && extensions.len() == 1);
    }
    assert!(!extensions.is_empty());
    // pywebsocket escapes no backslash, and a run of white space reads as one space
    let plain = |value: &str| {
        !value.contains(['\\', '\t'])
            && !value.contains("  ")
            && !value.chars().any(char::is_control)
    };
    let mut all_plain = true;
    for extension in &extensions {
        assert!(grammar::is_token(&extension.name));
        for (name, value) in &extension.parameters {
            assert!(grammar::is_token(name));
            all_plain &= value.as_deref().is_none_or(plain);
        }
        let parameters = extension.parameters.iter();
        let offer = Offer::parse(parameters.map(|(name, value)| (name.as_str(), value.as_deref())));
        if let Ok(Offer { server_max_window_bits: Some(window), .. }) = offer {
            assert!((8..=15).contains(&window.bits()));
        }
    }
    if all_plain {
        assert_eq!(extension::parse(&extension::format(&extensions)), Ok(extensions));
    }
}

/// Reads a request head that comes whole, in two halves and byte by byte, and judges it.
///
/// # Panics
/// If an invariant is broken.
pub fn request_head(data: &[u8]) {
    let Some((cut, input)) = data.split_first() else { return };
    let whole = read_head(input, [input.len()]);
    let middle = usize::from(*cut).min(input.len());
    assert_eq!(read_head(input, [middle, input.len()]), whole, "in two pieces");
    assert_eq!(read_head(input, 0..=input.len()), whole, "byte by byte");
    let _ = HeadReader::default().finish(&input[..middle]);
    let Ok(Some((head, used))) = whole else { return };
    assert_eq!(head.bytes.len(), used);
    assert!(!head.method.is_empty() && !head.method.contains(' '));
    assert!(!head.target.starts_with("//"));
    assert!(head.headers.iter().all(|(name, _)| !name.is_empty() && !name.contains(':')));
    if let Ok(opening) = Opening::check(&head) {
        // base64 of the 20 bytes of a SHA-1
        assert_eq!(opening.accept.len(), 28);
    }
}

/// Checks an opening handshake with header values from the lines of the input, so that the first
/// broken rule is not always the same. A missing line leaves the usual value. A CR would end a
/// value and begin a header: [`request_head`] tests that.
///
/// # Panics
/// If an invariant is broken.
pub fn opening(data: &[u8]) {
    if data.contains(&b'\r') {
        return;
    }
    let mut headers = [
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Host", "localhost"),
    ];
    let text = latin1(data);
    for ((_, value), line) in headers.iter_mut().zip(text.split('\n')) {
        // an empty line stands for the usual value too
        *value = if line.is_empty() { value } else { line };
    }
    let Some(outcome) = judge(headers) else { return };
    let mut backwards = headers;
    backwards.reverse();
    assert_eq!(judge(backwards).as_ref(), Some(&outcome), "the order of headers does not matter");
    let opening = match outcome {
        Ok(opening) => opening,
        Err(error) => {
            let told = error.supported_versions().is_some();
            assert_eq!(told, matches!(error, HandshakeError::Version(_)));
            assert!(error.status() == 400 && !error.to_string().is_empty());
            return;
        }
    };
    let key = headers[2].1.trim_matches([' ', '\t']);
    assert!(decode_key(key).is_some());
    assert_eq!(opening.accept, compute_accept(key.as_bytes()));
    let protocols = opening.protocols.unwrap_or_default();
    assert!(!protocols.is_empty() && protocols.iter().all(|name| grammar::is_token(name)));
    let extensions = opening.extensions.as_deref().map(extension::format);
    let extensions = extensions.filter(|value| is_header_safe(value));
    let answer = Answer {
        accept: &opening.accept,
        protocol: protocols.first().map(String::as_str),
        extensions: extensions.as_deref(),
        extra: &[],
    };
    let lines = 5 + usize::from(extensions.is_some());
    assert_eq!(answer.format().split(|byte| *byte == b'\n').count(), lines + 2);
}

/// Splits a request target, writes what was found and splits that again.
///
/// # Panics
/// If an invariant is broken.
pub fn request_target(data: &[u8]) {
    let text = latin1(data);
    let (path, fragment) = split_resource(&text);
    assert!(!path.contains(['?', '#']) && text.starts_with(path) && text.ends_with(fragment));
    assert!(fragment.is_empty() || text.contains('#'));
    let Target::Absolute { host, port, resource } = parse(&text) else { return };
    assert!(!host.is_empty() && resource.starts_with('/'));
    if host.contains(['[', ']']) {
        // a bracket elsewhere may have been its pair
        return;
    }
    let written = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let written = format!("ws://{written}:{port}{resource}");
    assert_eq!(parse(&written), Target::Absolute { host, port, resource }, "{written:?}");
}

/// What a server says of a request with these headers, if its head can be read at all.
fn judge<const N: usize>(headers: [(&str, &str); N]) -> Option<Result<Opening, HandshakeError>> {
    let mut bytes = b"GET /echo HTTP/1.1\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        // as Latin-1, which it was
        bytes.extend(value.chars().filter_map(|c| u8::try_from(c).ok()));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    let (head, used) = HeadReader::default().poll(&bytes).ok()??;
    assert_eq!(used, bytes.len());
    assert_eq!(head.headers.len(), N);
    Some(Opening::check(&head))
}

type ReadHead = Result<Option<(RequestHead, usize)>, HeadError>;

/// What a reader says first, when it is shown the input up to each of these ends.
fn read_head(input: &[u8], ends: impl IntoIterator<Item = usize>) -> ReadHead {
    let mut reader = HeadReader::default();
    for end in ends {
        let outcome = reader.poll(&input[..end]);
        if outcome != Ok(None) {
            return outcome;
        }
    }
    Ok(None)
}
