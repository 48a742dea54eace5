//! The port that is asked: `/metrics`, and `/healthz` for who only wants to know whether to send
//! clients here.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{header, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{watch, Semaphore},
    time::sleep,
};

use super::{describe, text};
use crate::server::{
    answer::SERVER,
    listen::{Accepted, Listener},
    shared::Shared,
};

/// Enough for the few who ask; more wait in the kernel.
const MAX_CONNECTIONS: usize = 16;

/// A client may be silent for longer than Prometheus' usual minute between two questions.
const HEAD_TIME: Duration = Duration::from_secs(90);

/// How long accepting pauses when it fails, as without descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers for as long as the runtime lives: also while the server waits for its connections to
/// end, and says so.
pub(in crate::server) async fn serve(
    listener: Listener,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // never closed
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok(stream) = listener.accept().await.and_then(Accepted::into_stream) else {
            sleep(PAUSE).await;
            continue;
        };
        let (shared, stop) = (shared.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response =
                    answer(request.method(), request.uri().path(), &shared, *stop.borrow());
                async move { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            // who breaks off needs no answer
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    shared: &Shared,
    is_stopping: bool,
) -> Response<Full<Bytes>> {
    let (status, kind, text) = match path {
        "/metrics" | "/healthz" if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET and HEAD are answered\n".to_owned())
        }
        "/metrics" => {
            (StatusCode::OK, HeaderValue::from_static(text::CONTENT_TYPE), describe(shared))
        }
        "/healthz" if is_stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned())
        }
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "Try /metrics or /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
