//! The port for metrics: `/metrics`, and `/healthz` for load balancers that ask whether to send
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
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{describe, text};
use crate::{
    runtime::task,
    server::{
        http::refusal::SERVER,
        listen::listener::{Accepted, Listener},
        state::ServerState,
    },
};

/// The most connections at a time. This is far more than ask at a time, so that silent peers do not
/// keep others waiting. Further connections wait in the kernel.
const MAX_CONNECTIONS: usize = 256;

/// A peer that has not sent a request after this time is cut.
const HEAD_TIME: Duration = Duration::from_secs(1);

/// A peer that needs longer than this for a request and its answer is cut, to free its place.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long accepting pauses after an error, for instance when no descriptors are left.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers until the runtime ends, so also while the server waits for its connections to end.
pub(in crate::server) async fn serve(
    listener: Listener,
    state: Arc<ServerState>,
    stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // the semaphore is never closed, so this does not fail
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok(stream) = listener.accept().await.and_then(Accepted::into_stream) else {
            sleep(PAUSE).await;
            continue;
        };
        let (state, stop) = (state.clone(), stop.clone());
        tokio::spawn(task(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let is_stopping = *stop.borrow();
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&request, state, is_stopping).await) }
            });
            let mut builder = http1::Builder::new();
            // one answer for each connection: an idle connection would occupy its place
            builder.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            let answering = builder.serve_connection(TokioIo::new(stream), service);
            // a peer that breaks off needs no answer
            let _ = timeout(ANSWER_TIME, answering).await;
            drop(place);
        }));
    }
}

/// A server without its backplane serves its own connections, so it is not unhealthy.
fn health(state: &ServerState) -> &'static str {
    match state.broker.backplane_statistics() {
        Some(backplane) if !backplane.is_connected => "degraded: no connection to the backplane\n",
        _ => "ok\n",
    }
}

async fn answer(
    request: &Request<Incoming>,
    state: Arc<ServerState>,
    is_stopping: bool,
) -> Response<Full<Bytes>> {
    let is_known = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        "/metrics" | "/healthz" if !is_known => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET and HEAD are answered\n".to_owned())
        }
        "/metrics" => {
            // adding up many connections takes a while, and tokio must serve others meanwhile
            let described = spawn_blocking(move || describe(&state)).await;
            let kind = HeaderValue::from_static(text::CONTENT_TYPE);
            (StatusCode::OK, kind, described.unwrap_or_default())
        }
        "/healthz" if is_stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned())
        }
        "/healthz" => (StatusCode::OK, TEXT, health(&state).to_owned()),
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
