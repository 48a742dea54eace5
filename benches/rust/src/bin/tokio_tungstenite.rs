//! tokio-tungstenite, over rustls if `ECHO_CERTIFICATE` names a PEM file with certificate and key.
//! Replies to messages that came in together are flushed together.

use std::{env, io, path::Path, sync::Arc};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    rustls::{
        crypto::ring::Ticketer,
        pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer},
        ServerConfig,
    },
    TlsAcceptor,
};
use tokio_tungstenite::accept_async;

fn main() -> io::Result<()> {
    let Some(certificate) = env::var_os("ECHO_CERTIFICATE") else {
        return echo_servers::run(echo);
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls(certificate.as_ref())?));
    echo_servers::run(move |stream| {
        let accepted = acceptor.accept(stream);
        async move {
            if let Ok(stream) = accepted.await {
                echo(stream).await;
            }
        }
    })
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut ws) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = ws.next().await {
        let mut message = Some(message);
        while let Some(reply) = message.take().filter(|m| m.is_text() || m.is_binary()) {
            if ws.feed(reply).await.is_err() {
                return;
            }
            if let Some(Some(Ok(next))) = ws.next().now_or_never() {
                message = Some(next);
            }
        }
        if ws.flush().await.is_err() {
            return;
        }
    }
}

/// What fastwsh has as well: ring, and sessions that clients keep and resume.
fn tls(pem: &Path) -> io::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(pem).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(pem).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    config.ticketer = Ticketer::new().map_err(io::Error::other)?;
    Ok(config)
}
