//! No text has the name of a Rust value.

use std::sync::Arc;

use rustls::{
    CertRevocationListError, ContentType, EncryptedClientHelloError, ExtendedKeyPurpose,
    HandshakeType, OtherError, PeerMisbehaved,
};

use super::*;
use crate::os_error::describe_handshake;

/// Stands for webpki's errors, whose text is their name.
#[derive(Debug)]
struct Named(&'static str);

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Named {}

fn other(name: &'static str) -> OtherError {
    OtherError(Arc::new(Named(name)))
}

fn time(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn wrong_name(presented: &[&str]) -> CertificateError {
    CertificateError::NotValidForNameContext {
        expected: ServerName::try_from("here.example").unwrap(),
        presented: presented.iter().map(ToString::to_string).collect(),
    }
}

fn certificate_errors() -> Vec<CertificateError> {
    use CertificateError as E;
    let (now, then) = (time(2_000_000_000), time(1_700_000_000));
    let mut errors = vec![
        E::BadEncoding,
        E::Expired,
        E::ExpiredContext { time: now, not_after: then },
        E::NotValidYet,
        E::NotValidYetContext { time: then, not_before: now },
        E::NotValidYetContext { time: then, not_before: time(u64::MAX) },
        E::Revoked,
        E::UnhandledCriticalExtension,
        E::UnknownIssuer,
        E::UnknownRevocationStatus,
        E::ExpiredRevocationList,
        E::ExpiredRevocationListContext { time: now, next_update: then },
        E::BadSignature,
        #[expect(deprecated, reason = "rustls may still give it")]
        E::UnsupportedSignatureAlgorithm,
        E::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![1],
            supported_algorithms: Vec::new(),
        },
        E::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![1],
            public_key_algorithm_id: vec![2],
        },
        E::NotValidForName,
        wrong_name(&[]),
        wrong_name(&["DnsName(\"a.example\")", "IpAddress(127.0.0.1)", "DirectoryName"]),
        wrong_name(&["Unsupported(0x84)"]),
        E::InvalidPurpose,
        E::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: vec![ExtendedKeyPurpose::ClientAuth],
        },
        E::InvalidOcspResponse,
        E::ApplicationVerificationFailure,
    ];
    errors.extend(
        [
            "CaUsedAsEndEntity",
            "EndEntityUsedAsCa",
            "ExtensionValueInvalid",
            "InvalidSerialNumber",
            "MalformedDnsIdentifier",
            "MaximumPathDepthExceeded",
            "MaximumSignatureChecksExceeded",
            "NameConstraintViolation",
            "PathLenConstraintViolated",
            "SignatureAlgorithmMismatch",
            "TrailingData(SubjectPublicKeyInfo)",
            "UnsupportedCertVersion",
            "UnsupportedNameType",
        ]
        .map(|name| E::Other(other(name))),
    );
    errors
}

fn peer_errors() -> Vec<Error> {
    use InvalidMessage as M;
    use PeerIncompatible as I;
    use PeerMisbehaved as B;
    let mut errors: Vec<Error> = vec![
        B::AttemptedDowngradeToTls12WhenTls13IsSupported.into(),
        B::IllegalHelloRetryRequestWithUnofferedNamedGroup.into(),
        B::IllegalTlsInnerPlaintext.into(),
        B::KeyUpdateReceivedInQuicConnection.into(),
        B::PskExtensionWithMismatchedIdsAndBinders.into(),
        B::ResumptionAttemptedWithVariedEms.into(),
        B::SelectedUnofferedKxGroup.into(),
        B::UnsolicitedSctList.into(),
        B::UnsolicitedEchExtension.into(),
        I::EcPointsExtensionRequired.into(),
        I::ExtendedMasterSecretExtensionRequired.into(),
        I::NoCipherSuitesInCommon.into(),
        I::NoKxGroupsInCommon.into(),
        I::NoSignatureSchemesInCommon.into(),
        I::NoCertificateRequestSignatureSchemesInCommon.into(),
        I::NoEcPointFormatsInCommon.into(),
        I::NullCompressionRequired.into(),
        I::ServerDoesNotSupportTls12Or13.into(),
        I::SignatureAlgorithmsExtensionRequired.into(),
        I::SupportedVersionsExtensionRequired.into(),
        I::Tls12NotOffered.into(),
        I::Tls12NotOfferedOrEnabled.into(),
        I::Tls13RequiredForQuic.into(),
        I::ServerRejectedEncryptedClientHello(None).into(),
        M::CertificatePayloadTooLarge.into(),
        M::InvalidCcs.into(),
        M::InvalidContentType.into(),
        M::InvalidDhParams.into(),
        M::InvalidEmptyPayload.into(),
        M::MessageTooLarge.into(),
        M::MessageTooShort.into(),
        M::MissingData("ClientExtensions").into(),
        M::TrailingData("ServerNamePayload").into(),
        M::UnexpectedMessage("ServerHelloDone").into(),
        M::UnknownProtocolVersion.into(),
        M::IllegalEmptyList("CipherSuites").into(),
        M::DuplicateExtension(10).into(),
        M::PreSharedKeyIsNotFinalExtension.into(),
    ];
    errors.extend((0..=u8::MAX).map(|number| Error::AlertReceived(number.into())));
    errors.extend((0..=u8::MAX).map(|number| Error::InappropriateMessage {
        expect_types: vec![ContentType::ApplicationData, ContentType::ChangeCipherSpec],
        got_type: number.into(),
    }));
    errors.extend((0..=u8::MAX).map(|number| Error::InappropriateHandshakeMessage {
        expect_types: vec![HandshakeType::ClientHello],
        got_type: number.into(),
    }));
    errors
}

fn errors() -> Vec<Error> {
    let mut errors = peer_errors();
    errors.extend(certificate_errors().into_iter().map(Error::from));
    errors.extend([
        Error::InvalidEncryptedClientHello(EncryptedClientHelloError::InvalidConfigList),
        Error::InvalidCertRevocationList(CertRevocationListError::IssuerInvalidForCrl),
        Error::InvalidCertRevocationList(CertRevocationListError::Other(other("BadDerTime"))),
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::General("failed to parse RSA private key: InvalidEncoding".to_owned()),
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        Error::InconsistentKeys(InconsistentKeys::Unknown),
        Error::Other(other("BadThing(WorseThing)")),
    ]);
    errors
}

/// Whether a word of the text has an upper-case letter behind a lower-case one, or a digit follows
/// letters as in `Tls12`.
fn has_name_of_a_value(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| {
        (pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
            || (pair[0].is_ascii_alphanumeric() && pair[1] == b'(')
    })
}

#[test]
fn no_text_has_names_of_values() {
    for error in errors() {
        for peer in [Peer::Client, Peer::Server, Peer::Any] {
            let text = describe(&error, peer);
            assert!(!has_name_of_a_value(&text), "{error:?}: {text}");
            assert!(!text.contains("  ") && !text.is_empty() && text.is_ascii(), "{text:?}");
        }
    }
    // the check itself sees what rustls writes
    assert!(has_name_of_a_value(&Error::AlertReceived(AlertDescription::UnknownCA).to_string()));
}

#[test]
fn alerts_have_their_meaning() {
    use AlertDescription as A;
    let text = |alert| describe(&Error::AlertReceived(alert), Peer::Client);
    assert_eq!(
        text(A::UnknownCA),
        "the client does not trust the issuer of the server's certificate"
    );
    assert_eq!(
        text(A::CertificateExpired),
        "the client considers the server's certificate expired or not valid yet"
    );
    assert_eq!(
        text(A::HandshakeFailure),
        "the client has no cipher suite or version of TLS in common with this side"
    );
    assert_eq!(text(A::from(200)), "the client sent the TLS alert 200");
}

#[test]
fn certificates_are_told_with_dates_and_names() {
    let texts: Vec<_> = [
        CertificateError::ExpiredContext { time: time(3), not_after: time(784_111_777) },
        CertificateError::NotValidYetContext { time: time(3), not_before: time(784_111_777) },
        CertificateError::NotValidYetContext { time: time(3), not_before: time(u64::MAX) },
        wrong_name(&["DnsName(\"a.example\")"]),
        wrong_name(&["DnsName(\"a.example\")", "DnsName(\"*.b.example\")", "IpAddress(::1)"]),
        wrong_name(&["DnsName(\"line\nbreak\")"]),
        wrong_name(&["DnsName(\"a.example\")"; 10]),
        CertificateError::Other(other("CaUsedAsEndEntity")),
        CertificateError::Other(other("SignatureAlgorithmMismatch")),
    ]
    .iter()
    .map(describe_certificate)
    .collect();
    let many = ["a.example"; 8].join(", ");
    assert_eq!(
        texts,
        [
            "has expired on Sun, 06 Nov 1994 08:49:37 GMT",
            "is not valid yet, but from Sun, 06 Nov 1994 08:49:37 GMT",
            "is not valid yet",
            "is for another name: it is for a.example, not for here.example",
            "is for another name: it is for a.example, *.b.example and ::1, not for here.example",
            "is for another name: it is for line\\nbreak, not for here.example",
            &format!("is for another name: it is for {many} and 2 more, not for here.example"),
            "is a CA certificate, which nobody may use as their own",
            "is not accepted: signature algorithm mismatch",
        ]
    );
}

#[test]
fn names_of_values_become_words() {
    let text = |error| describe(&error, Peer::Server);
    assert_eq!(
        text(PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported.into()),
        "the server broke a rule of TLS: attempted downgrade to TLS 1.2 when TLS 1.3 is supported"
    );
    assert_eq!(
        text(Error::General("failed to parse RSA private key: InvalidEncoding".to_owned())),
        "failed to parse RSA private key: invalid encoding"
    );
    let untouched = "failed to parse private key as RSA, ECDSA, or EdDSA";
    assert_eq!(
        text(Error::General(untouched.to_owned())),
        "failed to parse private key as RSA, ECDSA, or EdDSA"
    );
    assert_eq!(
        text(Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::ClientHello,
        }),
        "the server sent a TLS message out of turn: client hello instead of server hello"
    );
}

#[test]
fn only_other_first_bytes_are_no_tls() {
    let corrupt = io::Error::other(Error::from(InvalidMessage::InvalidContentType));
    let text = |first: &[u8]| describe_handshake(&corrupt, Peer::Client, first);
    for first in [&b"GET /"[..], b"SSH-2", b"\0", b"\x16\x02", b"\xff\xff"] {
        assert_eq!(text(first), "the client does not speak TLS");
    }
    for first in [&b""[..], b"\x16", b"\x16\x03\x01", b"\x15\x03\x03"] {
        assert_eq!(text(first), "the client sent a corrupt TLS message: its type does not exist");
    }
}
