//! Names of Rust values, such as `UnknownIssuer`, as words.

use std::{borrow::Cow, fmt::Debug};

/// The words of the name of a Rust value, for errors that have no sentence of their own.
pub(super) fn words(value: &impl Debug) -> String {
    words_of(&format!("{value:?}"))
}

pub(super) fn words_of(debug: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let parts = debug.split(|c| !is_part(c)).filter(|part| !part.is_empty());
    parts.map(split_name).collect::<Vec<_>>().join(" ")
}

/// A text of others, with the names of Rust values in it made words.
pub(super) fn plain(text: &str) -> String {
    let tokens = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let plain = tokens.map(|token| {
        let (name, end) = match token.char_indices().next_back() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => token.split_at(at),
            _ => (token, ""),
        };
        let name = if is_camel_case(name) { split_name(name).into() } else { Cow::Borrowed(name) };
        let end = if matches!(end, "(") { ": " } else { end };
        format!("{name}{}", if end == ")" { "" } else { end })
    });
    plain.collect()
}

/// Whether this is a name like `UnknownIssuer`, not one like `EdDSA`.
fn is_camel_case(name: &str) -> bool {
    let humps = name.chars().filter(char::is_ascii_uppercase).count();
    let has_hump = |pair: &[u8]| pair[0].is_ascii_uppercase() && pair[1].is_ascii_uppercase();
    humps > 1
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && !name.ends_with(|c: char| c.is_ascii_uppercase())
        && !name.as_bytes().windows(2).any(has_hump)
}

fn split_name(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut was_upper = true;
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if was_upper || !c.is_ascii_uppercase() => word.push(c.to_ascii_lowercase()),
            _ => words.push(c.to_ascii_lowercase().to_string()),
        }
        was_upper = c.is_ascii_uppercase();
    }
    words.iter().map(|word| spell_out(word)).collect::<Vec<_>>().join(" ")
}

fn spell_out(word: &str) -> &str {
    match word {
        "tls" => "TLS",
        "tls12" => "TLS 1.2",
        "tls13" => "TLS 1.3",
        "13" => "1.3",
        "ca" => "CA",
        "cert" => "certificate",
        "certs" => "certificates",
        "ccs" => "change of cipher",
        "crl" => "revocation list",
        "dns" => "DNS",
        "ec" => "elliptic curve",
        "ech" => "encrypted client hello",
        "eku" => "purpose",
        "ems" => "extended master secret",
        "kx" => "key exchange",
        "psk" => "pre-shared key",
        "quic" => "QUIC",
        "sct" => "timestamp of the certificate",
        "sig" => "signature",
        word => word,
    }
}
