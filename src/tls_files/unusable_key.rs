//! Why a private key cannot be used, from its DER.

use rustls::pki_types::PrivateKeyDer;

use super::{
    contents::{NEW_KEY, USABLE_KEYS},
    der::{element, elements, sequence, Tag},
};

/// Says why a key cannot be used, and what would help.
pub(super) fn explain(key: &PrivateKeyDer<'_>, path: &str) -> String {
    let kind = match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => sec1_curve(key.secret_sec1_der()).map(elliptic),
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
        _ => None,
    };
    match kind {
        Some(Kind::Named(name)) => format!("it is {name}; {USABLE_KEYS}: {NEW_KEY}"),
        Some(Kind::ExplicitCurve) => format!(
            "it describes its curve by numbers; convert it with \"openssl ec -in {path} \
             -param_enc named_curve -out key.pem\""
        ),
        None => "it is damaged; copy the file anew".to_owned(),
    }
}

enum Kind {
    Named(String),
    /// An EC key with the parameters of its curve in place of the name (RFC 3279 2.3.5).
    ExplicitCurve,
}

fn named(name: &str) -> Kind {
    Kind::Named(name.to_owned())
}

/// `PrivateKeyInfo` (RFC 5958 2): version, algorithm, key.
fn pkcs8(der: &[u8]) -> Option<Kind> {
    let mut parts = elements(sequence(der)?).skip(1);
    let (Tag::SEQUENCE, algorithm) = parts.next()? else { return None };
    let (Tag::OBJECT_IDENTIFIER, identifier, parameters) = element(algorithm)? else { return None };
    let (Tag::OCTET_STRING, key) = parts.next()? else { return None };
    match dotted(identifier).as_str() {
        "1.2.840.113549.1.1.1" => rsa(key),
        "1.2.840.10045.2.1" => element(parameters).map(|(tag, value, _)| elliptic((tag, value))),
        "1.2.840.113549.1.1.10" => Some(named("an RSA key for PSS alone")),
        "1.2.840.10040.4.1" => Some(named("a DSA key")),
        "1.2.840.113549.1.3.1" | "1.3.101.110" | "1.3.101.111" => {
            Some(named("a key that agrees on secrets, and signs nothing"))
        }
        "1.3.101.113" => Some(named("an Ed448 key")),
        "1.3.101.112" => None,
        other => Some(Kind::Named(format!("a key of the kind {other}"))),
    }
}

/// `RSAPrivateKey` (RFC 8017 A.1.2): version, modulus, public exponent, and more.
fn rsa(der: &[u8]) -> Option<Kind> {
    let mut numbers = elements(sequence(der)?).skip(1).map(|(_, value)| significant(value));
    let (modulus, exponent) = (numbers.next()?, numbers.next()?);
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    if !matches!(bits, 2048 | 3072 | 4096) {
        return Some(Kind::Named(format!("an RSA key of {bits} bits")));
    }
    let is_small = exponent.len() < 3;
    is_small.then(|| named("an RSA key with a public exponent below 65537"))
}

/// A number without its leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The parameters in `ECPrivateKey` (RFC 5915 3): version, key, \[0\] parameters.
fn sec1_curve(der: &[u8]) -> Option<(Tag, &[u8])> {
    let (_, parameters) = elements(sequence(der)?).find(|(tag, _)| *tag == Tag::CONTEXT_0)?;
    element(parameters).map(|(tag, value, _)| (tag, value))
}

fn elliptic((tag, value): (Tag, &[u8])) -> Kind {
    if tag != Tag::OBJECT_IDENTIFIER {
        return Kind::ExplicitCurve;
    }
    let identifier = dotted(value);
    let curve = match identifier.as_str() {
        "1.3.132.0.35" => "P-521 (secp521r1)",
        "1.3.132.0.33" => "P-224 (secp224r1)",
        "1.3.132.0.10" => "secp256k1",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        // whatever else is wrong with it
        "1.2.840.10045.3.1.7" => "P-256 that is damaged",
        "1.3.132.0.34" => "P-384 that is damaged",
        other => other,
    };
    Kind::Named(format!("an EC key on the curve {curve}"))
}

/// An object identifier as people write it (X.690 8.19).
fn dotted(bytes: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for &byte in bytes {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first.to_string());
                number -= first * 40;
            }
            numbers.push(number.to_string());
            number = 0;
        }
    }
    numbers.join(".")
}
