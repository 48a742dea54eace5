//! What a file contains in the place of a certificate or a private key, and what would help.

use super::der::{element, Tag};

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    PrivateKey,
    Certificate,
    /// A certificate that others are signed with.
    Authority,
}

impl Item {
    /// How sentences call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key",
            Self::Certificate => "certificate",
            Self::Authority => "CA certificate",
        }
    }
}

/// Says why a file has no such item, and what would help: two clauses with a semicolon.
pub(super) fn explain(wanted: Item, path: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let labels: Vec<_> = text.split("-----BEGIN ").skip(1).filter_map(label).collect();
    if labels.is_empty() {
        return explain_without_labels(wanted, path, bytes);
    }
    let is_key = |label: &str| label.ends_with("PRIVATE KEY");
    let found = match wanted {
        Item::PrivateKey => labels.iter().find(|label| is_key(label)),
        _ => labels.iter().find(|label| **label == "CERTIFICATE"),
    };
    match found.unwrap_or(&labels[0]) {
        &"OPENSSH PRIVATE KEY" if wanted == Item::PrivateKey => {
            format!("it has a key of OpenSSH, which is not for TLS; {NEW_KEY}")
        }
        &"DSA PRIVATE KEY" if wanted == Item::PrivateKey => {
            format!("it has a DSA key; {USABLE_KEYS}: {NEW_KEY}")
        }
        label if found.is_some() => format!(
            "its \"BEGIN {label}\" is not followed by what has to come; copy the file anew, as plain \
             text, with every line and nothing before the dashes"
        ),
        &"CERTIFICATE REQUEST" | &"NEW CERTIFICATE REQUEST" => {
            let of = "the authority has made from it";
            format!("it has a request for a certificate; name the certificate that {of}")
        }
        &"TRUSTED CERTIFICATE" => {
            let command = format!("openssl x509 -in {path} -out cert.pem");
            format!("it is in a form of OpenSSL's own; convert it with \"{command}\"")
        }
        &("PKCS7" | "CMS") => pkcs7(path, ""),
        label if label.ends_with("PUBLIC KEY") => {
            "it has a public key; name the file with the other half".to_owned()
        }
        &"CERTIFICATE" => "it has a certificate; name the file with its key".to_owned(),
        label if is_key(label) => {
            "it has a private key; name the file with the certificate for it".to_owned()
        }
        label => format!("it has a {label}; {}", needed(wanted)),
    }
}

/// A file that is not PEM at all.
fn explain_without_labels(wanted: Item, path: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return format!("the file is empty; {}", needed(wanted));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "it is encoded as UTF-16; save it as plain text".to_owned();
    }
    match binary(bytes) {
        Some(Binary::Pkcs12) => {
            let command = format!("openssl pkcs12 -in {path} -noenc -out both.pem");
            format!("it is a PKCS#12 file; convert it with \"{command}\", and name that file")
        }
        Some(Binary::Pkcs7) => pkcs7(path, "-inform DER "),
        Some(Binary::PrivateKey) => {
            let command = format!("openssl pkey -inform DER -in {path} -out key.pem");
            format!("it has a private key in DER; convert it with \"{command}\"")
        }
        Some(Binary::Certificate) => {
            let command = format!("openssl x509 -inform DER -in {path} -out cert.pem");
            format!("it has a certificate in DER; convert it with \"{command}\"")
        }
        None => needed(wanted),
    }
}

fn pkcs7(path: &str, form: &str) -> String {
    let command = format!("openssl pkcs7 -print_certs {form}-in {path} -out cert.pem");
    format!("it is a PKCS#7 file; convert it with \"{command}\"")
}

fn needed(wanted: Item) -> String {
    let label = match wanted {
        Item::PrivateKey => "PRIVATE KEY",
        _ => "CERTIFICATE",
    };
    format!("name a PEM file, which has a line \"-----BEGIN {label}-----\"")
}

/// The label that a text begins with (RFC 7468 2). What is no label may be the key itself, which
/// nobody must see.
fn label(text: &str) -> Option<&str> {
    let (label, _) = text.split_once("-----")?;
    let is_one = label.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' '));
    is_one.then_some(label)
}

/// What a file in DER has.
enum Binary {
    PrivateKey,
    Certificate,
    Pkcs7,
    Pkcs12,
}

fn binary(bytes: &[u8]) -> Option<Binary> {
    let (Tag::SEQUENCE, content, _) = element(bytes)? else { return None };
    let (first, value, rest) = element(content)?;
    let second = element(rest).map(|(tag, ..)| tag);
    match (first, value, second) {
        // PFX (RFC 7292 4)
        (Tag::INTEGER, [3], Some(Tag::SEQUENCE)) => Some(Binary::Pkcs12),
        // PrivateKeyInfo, RSAPrivateKey and ECPrivateKey (RFC 5958 2, 8017 A.1.2, 5915 3), and
        // EncryptedPrivateKeyInfo (RFC 5958 3)
        (Tag::INTEGER, [0 | 1], _) | (Tag::SEQUENCE, _, Some(Tag::OCTET_STRING)) => {
            Some(Binary::PrivateKey)
        }
        // ContentInfo (RFC 2315 7)
        (Tag::OBJECT_IDENTIFIER, ..) => Some(Binary::Pkcs7),
        // Certificate, with its contents, algorithm and signature (RFC 5280 4.1)
        (Tag::SEQUENCE, _, Some(Tag::SEQUENCE)) => Some(Binary::Certificate),
        _ => None,
    }
}

/// The keys that TLS can use here.
pub(super) const USABLE_KEYS: &str =
    "RSA keys of 2048, 3072 or 4096 bits, EC keys on P-256 or P-384, and Ed25519 keys can be used";

/// How to get one of them.
pub(super) const NEW_KEY: &str = "make one, for example with \"openssl genpkey -algorithm EC \
                                  -pkeyopt ec_paramgen_curve:P-256 -out key.pem\", and get a \
                                  certificate for it";
