//! TLS of a client: how it checks the server, and its own certificate.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider},
    pki_types::{CertificateDer, ServerName, UnixTime},
    AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::error::ConnectError;
use crate::{
    locks::lock,
    os_error::describe_handshake,
    tls_error::{cause, describe_certificate, is_record, Peer},
    tls_files::{describe_own, read_certificates, read_key, Item, TlsError},
};

/// How a client uses TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// How the server's certificate is judged.
    pub verification: Verification,
    /// Certificate chain and private key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate must be for; `None`: the URL's.
    pub server_name: Option<String>,
}

/// How the server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// By the CA certificates in this file, or without a file by those of the system, which
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` may replace.
    Authorities(Option<PathBuf>),
    /// Not at all: any machine between client and server can read and change everything.
    Off,
}

/// The name of HTTP/2 over TLS (RFC 9113 3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// How long a configuration is used before the system's certificates are read again. They may be in
/// hundreds of files, so it is not checked whether one of them has changed.
const FRESH: Duration = Duration::from_secs(60);

/// The most configurations to keep; a program that uses more reads some of them again.
const KEPT: usize = 8;

/// The configurations, the last used first. Reading and parsing the system's certificates takes
/// longer than the rest of a connection together, and sessions are resumed only within one
/// configuration.
static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

struct Loaded {
    source: Source,
    since: Instant,
    config: Arc<ClientConfig>,
}

/// Everything that a configuration depends on, except the content of the system's certificates.
#[derive(PartialEq, Eq)]
struct Source {
    verification: Verification,
    identity: Option<(PathBuf, PathBuf)>,
    http2: bool,
    /// Time of modification and length of each named file.
    files: Vec<Option<(SystemTime, u64)>>,
    /// Variables that say where the system's certificates are.
    variables: [Option<OsString>; 2],
}

impl Source {
    fn of(options: &TlsOptions, http2: bool) -> Self {
        let TlsOptions { verification, identity, .. } = options.clone();
        let authorities = match &verification {
            Verification::Authorities(file) => file.as_ref(),
            Verification::Off => None,
        };
        let own = identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        let state = |file: &PathBuf| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let files = authorities.into_iter().chain(own).map(state).collect();
        let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
        Self { verification, identity, http2, files, variables }
    }
}

/// Returns a configuration that was read at most [`FRESH`] ago. `http2`: offer HTTP/2 and nothing
/// else.
///
/// # Errors
/// A sentence that names the file and the remedy.
pub(super) fn load(options: &TlsOptions, http2: bool) -> Result<Arc<ClientConfig>, ConnectError> {
    let source = Source::of(options, http2);
    let mut loaded = lock(&LOADED);
    loaded.retain(|entry| entry.since.elapsed() < FRESH);
    if let Some(place) = loaded.iter().position(|entry| entry.source == source) {
        loaded[..=place].rotate_right(1);
        return Ok(loaded[0].config.clone());
    }
    drop(loaded);
    let config = read(options, http2)?;
    let entry = Loaded { source, since: Instant::now(), config: config.clone() };
    let mut loaded = lock(&LOADED);
    loaded.insert(0, entry);
    loaded.truncate(KEPT);
    Ok(config)
}

/// Reads the files.
fn read(options: &TlsOptions, http2: bool) -> Result<Arc<ClientConfig>, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::ClientCertificate(describe_own(&error)))?;
    let builder = match &options.verification {
        Verification::Authorities(file) => builder.with_root_certificates(roots(file.as_ref())?),
        Verification::Off => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        }
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                read_certificates(Item::Certificate, certificate)?,
                read_key(key)?,
            )
            .map_err(|error| ConnectError::ClientCertificate(describe_own(&error)))?,
    };
    if http2 {
        config.alpn_protocols.push(HTTP2.to_vec());
    }
    Ok(Arc::new(config))
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        // certificates that cannot be read or parsed are not trusted
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(ConnectError::NoAuthorities) } else { Ok(roots) };
    };
    for certificate in read_certificates(Item::Authority, file)? {
        roots.add(certificate).map_err(|error| TlsError::BadAuthority {
            path: file.display().to_string(),
            reason: describe_own(&error),
        })?;
    }
    Ok(roots)
}

/// Accepts every certificate, but still checks that the server has its private key.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why HTTP/2 is not possible if the server does not choose it in the TLS handshake.
pub(super) const NO_ALPN: &str = "its TLS does not choose h2 (ALPN)";

/// Whether the error comes from TLS.
pub(super) fn is_cause(error: &std::io::Error) -> bool {
    cause(error).is_some()
}

/// The error for a failed TLS handshake. With TLS 1.3, a server may also refuse the client's
/// certificate after the handshake. `first`: the first bytes of the server.
pub(super) fn explain(
    error: &std::io::Error,
    address: String,
    host: &str,
    first: &[u8],
) -> ConnectError {
    match cause(error) {
        Some(rustls::Error::InvalidCertificate(reason)) => ConnectError::Certificate {
            host: host.to_owned(),
            reason: format!("it {}", describe_certificate(reason)),
            remedy: remedy(reason),
        },
        Some(rustls::Error::InvalidMessage(_)) if is_record(first) == Some(false) => {
            ConnectError::NotTls { address }
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            ConnectError::NoHttp2 { address, reason: NO_ALPN.to_owned() }
        }
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            ConnectError::Tls {
                address,
                reason: "the server wants a client certificate; give one".to_owned(),
            }
        }
        None if error.kind() == std::io::ErrorKind::UnexpectedEof && first.is_empty() => {
            ConnectError::Tls {
                address,
                reason: "it ended the connection; if it does not speak TLS, use ws://".to_owned(),
            }
        }
        _ => ConnectError::Tls { address, reason: describe_handshake(error, Peer::Server, first) },
    }
}

fn remedy(error: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer => "name the file of its CA certificate",
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            "check the clock of this machine, and tell who runs the server"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "use a name that it is for, or give the server's name"
        }
        _ => "tell who runs the server",
    }
}
