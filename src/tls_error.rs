//! Errors of TLS in plain English: rustls words many of them as names of Rust values.

mod words;

use std::{
    borrow::Cow,
    fmt::Debug,
    io,
    time::{Duration, UNIX_EPOCH},
};

use httpdate::fmt_http_date;
use rustls::{
    pki_types::{ServerName, UnixTime},
    AlertDescription, CertificateError, Error, InconsistentKeys, InvalidMessage, PeerIncompatible,
};

use self::words::{plain, words, words_of};

/// Names of a certificate that a sentence quotes at most: some have a hundred.
const MAX_NAMES: usize = 8;
/// Year 10000, from which on `httpdate` panics.
const END_OF_DATES: u64 = 253_402_300_800;

/// The side at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This side is the server.
    Client,
    /// This side is the client.
    Server,
    /// Either.
    Any,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "the client",
            Self::Server => "the server",
            Self::Any => "the peer",
        }
    }

    /// The certificate of this side, which the peer judges.
    fn our_certificate(self) -> &'static str {
        match self {
            Self::Client => "the server's certificate",
            Self::Server => "the client's certificate",
            Self::Any => "our certificate",
        }
    }
}

/// The error of TLS in an error of a socket, if there is one.
pub(crate) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Whether these first bytes of a connection begin a TLS record (RFC 8446 5.1). Not known before
/// the first one has come.
pub(crate) fn is_record(first: &[u8]) -> Option<bool> {
    let is_type = (0x14..=0x18).contains(first.first()?);
    Some(is_type && first.get(1).is_none_or(|major| *major == 3))
}

/// What has gone wrong, as a clause without a full stop.
pub(crate) fn describe(error: &Error, peer: Peer) -> String {
    let name = peer.name();
    match error {
        Error::AlertReceived(alert) => describe_alert(*alert, peer),
        Error::InvalidCertificate(error) => {
            format!("{name}'s certificate {}", describe_certificate(error))
        }
        Error::PeerIncompatible(why) => describe_incompatible(why, name),
        Error::PeerMisbehaved(why) => format!("{name} broke a rule of TLS: {}", words(why)),
        Error::InvalidMessage(why) => {
            format!("{name} sent a corrupt TLS message: {}", describe_message(why))
        }
        Error::InappropriateMessage { expect_types, got_type } => {
            out_of_turn(name, got_type, expect_types)
        }
        Error::InappropriateHandshakeMessage { expect_types, got_type } => {
            out_of_turn(name, got_type, expect_types)
        }
        Error::InvalidCertRevocationList(why) => {
            format!("the list of revoked certificates cannot be used: {}", words(why))
        }
        Error::InvalidEncryptedClientHello(why) => {
            format!("the encrypted client hello cannot be used: {}", words(why))
        }
        Error::NoCertificatesPresented => format!("{name} sent no certificate"),
        Error::UnsupportedNameType => "no certificate can be for this kind of name".to_owned(),
        Error::DecryptError => format!("a message of {name} cannot be decrypted"),
        Error::EncryptError => "a message cannot be encrypted".to_owned(),
        Error::PeerSentOversizedRecord => format!("{name} sent a TLS record that is too large"),
        Error::NoApplicationProtocol => {
            format!("{name} offers no application protocol in common (ALPN)")
        }
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key does not belong to the certificate".to_owned()
        }
        Error::InconsistentKeys(_) => {
            "whether the private key belongs to the certificate cannot be told".to_owned()
        }
        Error::FailedToGetCurrentTime => "the system does not tell the time".to_owned(),
        Error::FailedToGetRandomBytes => "the system gives no random bytes".to_owned(),
        Error::HandshakeNotComplete => "the TLS handshake is not complete".to_owned(),
        Error::BadMaxFragmentSize => "the limit for fragments is too small or large".to_owned(),
        Error::General(text) => plain(text),
        Error::Other(other) => plain(&other.to_string()),
        other => plain(&other.to_string()),
    }
}

/// What the peer means by an alert (RFC 8446 6, RFC 5246 7.2).
fn describe_alert(alert: AlertDescription, peer: Peer) -> String {
    use AlertDescription as A;
    let ours = peer.our_certificate();
    let judged = |how: &str| Cow::Owned(format!("considers {ours} {how}"));
    let said = match alert {
        A::CloseNotify => "ended the TLS connection".into(),
        A::UserCanceled => "gave the handshake up".into(),
        A::UnknownCA => format!("does not trust the issuer of {ours}").into(),
        A::CertificateUnknown => format!("does not accept {ours}").into(),
        A::BadCertificate => judged("invalid"),
        A::CertificateExpired => judged("expired or not valid yet"),
        A::CertificateRevoked => judged("revoked"),
        A::UnsupportedCertificate => judged("to be of a kind that it does not support"),
        A::CertificateRequired | A::NoCertificate => "wants a certificate; give one".into(),
        A::CertificateUnobtainable | A::BadCertificateHashValue => {
            format!("could not fetch {ours}").into()
        }
        A::BadCertificateStatusResponse => {
            format!("does not accept the proof that {ours} has not been revoked").into()
        }
        A::AccessDenied => "refuses access".into(),
        A::HandshakeFailure => {
            "has no cipher suite or version of TLS in common with this side".into()
        }
        A::ProtocolVersion => "supports neither TLS 1.2 nor TLS 1.3".into(),
        A::InsufficientSecurity | A::ExportRestriction => {
            "wants other encryption than this side supports".into()
        }
        A::InappropriateFallback => "supports a newer version of TLS than was agreed on".into(),
        A::UnrecognisedName => "does not know the name of the server that was asked for".into(),
        A::NoApplicationProtocol => "has no application protocol in common (ALPN)".into(),
        A::UnknownPSKIdentity => "does not know the session or the shared key".into(),
        A::EncryptedClientHelloRequired => "wants an encrypted client hello".into(),
        A::DecryptError => "could not verify a signature or the handshake".into(),
        A::BadRecordMac | A::DecryptionFailed => "could not decrypt a TLS record".into(),
        A::RecordOverflow => "received a TLS record that is too large".into(),
        A::DecompressionFailure => "could not decompress a TLS record".into(),
        A::DecodeError => "could not read a TLS message".into(),
        A::IllegalParameter => "received an illegal value in a TLS message".into(),
        A::UnexpectedMessage => "received a TLS message out of turn".into(),
        A::MissingExtension => "misses an extension of TLS that it needs".into(),
        A::UnsupportedExtension => "received an extension of TLS that it did not ask for".into(),
        A::NoRenegotiation => "refuses another TLS handshake".into(),
        A::InternalError => "had an internal error".into(),
        other => Cow::Owned(format!("sent the TLS alert {}", u8::from(other))),
    };
    format!("{} {said}", peer.name())
}

/// What is wrong with a certificate, as a predicate: "has expired".
pub(crate) fn describe_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    let text = match error {
        E::UnknownIssuer => "is signed by an unknown authority",
        E::Expired => "has expired",
        E::ExpiredContext { not_after, .. } => {
            return format!("has expired{}", at(" on ", *not_after));
        }
        E::NotValidYet => "is not valid yet",
        E::NotValidYetContext { not_before, .. } => {
            return format!("is not valid yet{}", at(", but from ", *not_before));
        }
        E::NotValidForName => "is for another name",
        E::NotValidForNameContext { expected, presented } => return misnamed(expected, presented),
        E::Revoked => "has been revoked",
        E::UnknownRevocationStatus => "may have been revoked: no list tells of it",
        E::ExpiredRevocationList => "may have been revoked: the list that tells of it is too old",
        E::ExpiredRevocationListContext { next_update, .. } => {
            let since = at(" since ", *next_update);
            return format!("may have been revoked: the list that tells of it is too old{since}");
        }
        E::BadEncoding => "is not encoded correctly",
        E::BadSignature => "has a wrong signature",
        E::UnsupportedSignatureAlgorithmContext { .. } => {
            "is signed by an algorithm that is not supported"
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed by an algorithm that does not fit the issuer's key"
        }
        E::UnhandledCriticalExtension => "has a critical extension that is not supported",
        E::InvalidPurpose => "is for another purpose",
        E::InvalidPurposeContext { required, .. } => return format!("is not for {required}"),
        E::InvalidOcspResponse => "comes with a wrong proof that it has not been revoked",
        E::ApplicationVerificationFailure => "is refused by the program",
        E::Other(other) => return unusual_certificate(&other.0.to_string()),
        other => return format!("is not accepted: {}", words(other)),
    };
    text.to_owned()
}

/// What is wrong with a certificate, from the name of webpki's error.
fn unusual_certificate(name: &str) -> String {
    let text = match name {
        "CaUsedAsEndEntity" => "is a CA certificate, which nobody may use as their own",
        "EndEntityUsedAsCa" => "is signed by a certificate that is no CA certificate",
        "UnsupportedCertVersion" => "is not of version 3 of X.509",
        "NameConstraintViolation" => "is for a name that its issuer may not sign",
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            "has more certificates above it than are allowed"
        }
        "MaximumSignatureChecksExceeded"
        | "MaximumPathBuildCallsExceeded"
        | "MaximumNameConstraintComparisonsExceeded" => "has a chain that is too complex to check",
        "EmptyEkuExtension" => "is for no purpose",
        "UnsupportedCriticalExtension" => "has a critical extension that is not supported",
        _ => return format!("is not accepted: {}", plain(name)),
    };
    text.to_owned()
}

fn at(before: &str, time: UnixTime) -> String {
    let seconds = time.as_secs();
    if seconds >= END_OF_DATES {
        return String::new();
    }
    format!("{before}{}", fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
}

fn misnamed(expected: &ServerName<'_>, presented: &[String]) -> String {
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!("is for no name, and so not for {expected}");
    }
    let mut names: Vec<_> =
        presented.iter().take(MAX_NAMES).map(|name| presented_name(name)).collect();
    if presented.len() > MAX_NAMES {
        names.push(format!("{} more", presented.len() - MAX_NAMES));
    }
    let end = names.pop().unwrap_or_default();
    let list = if names.is_empty() { end } else { format!("{} and {end}", names.join(", ")) };
    format!("is for another name: it is for {list}, not for {expected}")
}

/// A name as it stands in a certificate; webpki gives `DnsName("example.org")`.
fn presented_name(debug: &str) -> String {
    let value = debug.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    match value {
        Some(_) if debug.starts_with("Unsupported(") => "a name of another kind".to_owned(),
        // a name is text from outside
        Some(value) => value.trim_matches('"').escape_debug().to_string(),
        None if debug == "DirectoryName" => "a name of a directory".to_owned(),
        None => debug.escape_debug().to_string(),
    }
}

fn describe_incompatible(why: &PeerIncompatible, name: &str) -> String {
    use PeerIncompatible as P;
    let what = match why {
        P::NoCipherSuitesInCommon => "cipher suite",
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            "signature scheme"
        }
        P::NoKxGroupsInCommon => "key exchange group",
        P::NoEcPointFormatsInCommon | P::UncompressedEcPointsRequired => {
            "format of elliptic curve points"
        }
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::SupportedVersionsExtensionRequired
        | P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig => {
            return format!(
                "{name} has no version of TLS in common with this side: it supports neither TLS \
                 1.2 nor TLS 1.3"
            );
        }
        // clients that know TLS 1.2 name them, others cannot
        P::SignatureAlgorithmsExtensionRequired => {
            return format!(
                "{name} names no signature algorithms, so probably it supports neither TLS 1.2 nor \
                 TLS 1.3"
            );
        }
        other => return format!("{name} lacks what TLS needs here: {}", words(other)),
    };
    format!("{name} has no {what} in common with this side")
}

fn describe_message(why: &InvalidMessage) -> String {
    use InvalidMessage as M;
    match why {
        M::InvalidContentType => "its type does not exist".to_owned(),
        M::UnknownProtocolVersion => "its version does not exist".to_owned(),
        M::MessageTooLarge | M::HandshakePayloadTooLarge | M::CertificatePayloadTooLarge => {
            "it is too large".to_owned()
        }
        M::MessageTooShort => "it is too short".to_owned(),
        M::InvalidEmptyPayload => "it is empty".to_owned(),
        M::InvalidCcs => "it does not change the cipher correctly".to_owned(),
        M::MissingData(of) => format!("a part is missing of its {}", words_of(of)),
        M::TrailingData(of) => format!("there are bytes behind its {}", words_of(of)),
        M::UnexpectedMessage(of) => format!("it is an unexpected {}", words_of(of)),
        M::DuplicateExtension(number) => format!("it has extension {number} twice"),
        other => words(other),
    }
}

fn out_of_turn<T: Debug>(name: &str, got: &T, expected: &[T]) -> String {
    let mut expected: Vec<_> = expected.iter().map(words).collect();
    expected.dedup();
    let text = format!("{name} sent a TLS message out of turn: {}", words(got));
    if expected.is_empty() {
        return text;
    }
    format!("{text} instead of {}", expected.join(" or "))
}

#[cfg(test)]
mod tests;
