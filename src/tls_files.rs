//! TLS: reads certificates and keys from PEM files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::ring,
    pki_types::{
        pem::{Error as PemError, PemObject},
        CertificateDer, PrivateKeyDer,
    },
    server::{danger::ClientCertVerifier, WebPkiClientVerifier},
    RootCertStore, ServerConfig,
};
use thiserror::Error;

use crate::tls_error::{describe, describe_certificate, Peer};

/// The files for TLS, and whether to ask clients for a certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM; may be the same file as the certificate's.
    pub private_key: PathBuf,
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// Whether clients need certificates.
    pub client_auth: ClientAuth,
}

/// Client certificates.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// Clients are not asked for a certificate.
    None,
    /// Clients are asked for a certificate, and may connect without one.
    Optional(PathBuf),
    /// Clients are asked for a certificate, and are refused without one.
    Required(PathBuf),
}

/// Why TLS cannot be set up; a sentence for the operator.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read the {what} file {path}: {reason}; check the path and its permissions")]
    Unreadable {
        /// Private key, certificate or CA certificate.
        what: &'static str,
        /// Which file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file does not contain the wanted item.
    #[error("no {what} in {path}; a PEM file with a \"BEGIN ...\" line for it is needed")]
    Missing {
        /// Private key, certificate or CA certificate.
        what: &'static str,
        /// Which file.
        path: String,
    },
    /// The private key has a passphrase.
    #[error(
        "the private key in {path} is encrypted; write it without a passphrase, for example with \
         \"openssl pkey -in {path} -out key.pem\""
    )]
    EncryptedKey {
        /// Which file.
        path: String,
    },
    /// Certificate and key do not fit, or cannot be used.
    #[error("cannot use the certificate {certificate} with the private key {key}: {reason}")]
    Unusable {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The CA file cannot be used.
    #[error("cannot use the CA certificates in {path}: {reason}")]
    BadAuthority {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the files.
///
/// # Errors
/// A sentence that names the file and the remedy.
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = read_certificates("certificate", &files.certificate)?;
    let key = read_key(&files.private_key)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(files, &error))?;
    let builder = match &files.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Optional(path) => {
            builder.with_client_cert_verifier(verifier(path, provider, true)?)
        }
        ClientAuth::Required(path) => {
            builder.with_client_cert_verifier(verifier(path, provider, false)?)
        }
    };
    let mut config =
        builder.with_single_cert(certificates, key).map_err(|error| unusable(files, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // sessions that clients keep, however many they are; a resumed handshake signs nothing
    config.ticketer = ring::Ticketer::new().map_err(|error| unusable(files, &error))?;
    Ok(Arc::new(config))
}

fn verifier(
    path: &PathBuf,
    provider: Arc<rustls::crypto::CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let bad = |reason: String| TlsError::BadAuthority { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("CA certificate", path)? {
        roots.add(certificate).map_err(|error| bad(describe_own(&error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| bad(error.to_string()))
}

/// Reads the certificates of a PEM file; `what` they are, for the sentence.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_certificates(
    what: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem_error(what, path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::Missing { what, path: path.display().to_string() });
    }
    Ok(certificates)
}

/// Reads the private key of a PEM file.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_key(path: &PathBuf) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => Ok(key),
        Err(error) => {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.contains("BEGIN ENCRYPTED PRIVATE KEY")
                || text.contains("Proc-Type: 4,ENCRYPTED")
            {
                return Err(TlsError::EncryptedKey { path: path.display().to_string() });
            }
            Err(pem_error("private key", path, &error))
        }
    }
}

fn pem_error(what: &'static str, path: &Path, error: &PemError) -> TlsError {
    let path = path.display().to_string();
    match error {
        PemError::Io(error) => {
            TlsError::Unreadable { what, path, reason: crate::os_error::strerror(error) }
        }
        _ => TlsError::Missing { what, path },
    }
}

/// What is wrong with a certificate or key of this side.
pub(crate) fn describe_own(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => {
            format!("the certificate {}", describe_certificate(error))
        }
        error => describe(error, Peer::Any),
    }
}

fn unusable(files: &TlsFiles, error: &rustls::Error) -> TlsError {
    TlsError::Unusable {
        certificate: files.certificate.display().to_string(),
        key: files.private_key.display().to_string(),
        reason: describe_own(error),
    }
}
