//! TLS: reads certificates and keys from PEM files.

mod contents;
mod der;
#[cfg(test)]
mod tests;
mod unusable_key;
mod validity;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::{ring, CryptoProvider},
    pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer, UnixTime},
    server::{danger::ClientCertVerifier, WebPkiClientVerifier},
    sign::{CertifiedKey, SigningKey},
    InconsistentKeys, RootCertStore, ServerConfig,
};
use thiserror::Error;

pub(crate) use self::contents::Item;
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
    #[error("no {what} in {path}: {reason}")]
    Missing {
        /// Private key, certificate or CA certificate.
        what: &'static str,
        /// Which file.
        path: String,
        /// What it has instead, and what would help.
        reason: String,
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
    /// The private key is of a kind that cannot be used.
    #[error("cannot use the private key in {path}: {reason}")]
    UnusableKey {
        /// Which file.
        path: String,
        /// Which kind, and what would help.
        reason: String,
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
    let certificates = read_certificates(Item::Certificate, &files.certificate)?;
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
    let chain = certificates.clone();
    let signing = key.clone_key();
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| misfit(files, &error, &chain, &signing))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // sessions that clients keep, however many they are; a resumed handshake signs nothing
    config.ticketer = ring::Ticketer::new().map_err(|error| unusable(files, &error))?;
    Ok(Arc::new(config))
}

/// Says that the server's certificate has expired or is not valid yet: "has expired on" and the date.
/// It is no error: the clock of this machine may be wrong, and clients that do not check can connect.
pub fn certificate_fault(files: &TlsFiles) -> Option<String> {
    let certificates = read_certificates(Item::Certificate, &files.certificate).ok()?;
    let fault = validity::fault(certificates.first()?, UnixTime::now())?;
    Some(describe_certificate(&fault))
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let bad = |reason: String| TlsError::BadAuthority { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(Item::Authority, path)? {
        roots.add(certificate).map_err(|error| bad(describe_own(&error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| bad(error.to_string()))
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_certificates(
    wanted: Item,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(wanted, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(missing(wanted, path, &bytes)),
    }
}

/// Reads the private key of a PEM file, which is of a kind that can be used.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(Item::PrivateKey, path)?;
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => key,
        Err(_) if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") => {
            return Err(TlsError::EncryptedKey { path: path.display().to_string() });
        }
        Err(_) => return Err(missing(Item::PrivateKey, path, &bytes)),
    };
    if ring::sign::any_supported_type(&key).is_err() {
        let path = path.display().to_string();
        let reason = unusable_key::explain(&key, &path);
        return Err(TlsError::UnusableKey { path, reason });
    }
    Ok(key)
}

fn read(wanted: Item, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable {
        what: wanted.name(),
        path: path.display().to_string(),
        reason: crate::os_error::strerror(&error),
    })
}

fn missing(wanted: Item, path: &Path, bytes: &[u8]) -> TlsError {
    let path = path.display().to_string();
    let reason = contents::explain(wanted, &path, bytes);
    TlsError::Missing { what: wanted.name(), path, reason }
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

/// Why a certificate and a key that can be read cannot be used together.
fn misfit(
    files: &TlsFiles,
    error: &rustls::Error,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> TlsError {
    let remedy = match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            if chain.iter().skip(1).any(|certificate| belong_together(certificate, key)) {
                "; it belongs to a later one: put that one first, and those of its issuers behind it"
            } else {
                "; name the key that the certificate was made with"
            }
        }
        rustls::Error::InvalidCertificate(_) => "; get another one",
        _ => "",
    };
    match unusable(files, error) {
        TlsError::Unusable { certificate, key, reason } => {
            TlsError::Unusable { certificate, key, reason: reason + remedy }
        }
        other => other,
    }
}

fn belong_together(certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> bool {
    let signing: Result<Arc<dyn SigningKey>, _> = ring::sign::any_supported_type(key);
    signing.is_ok_and(|signing| {
        CertifiedKey::new(vec![certificate.clone()], signing).keys_match().is_ok()
    })
}

fn unusable(files: &TlsFiles, error: &rustls::Error) -> TlsError {
    TlsError::Unusable {
        certificate: files.certificate.display().to_string(),
        key: files.private_key.display().to_string(),
        reason: describe_own(error),
    }
}
