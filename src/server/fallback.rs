//! Plain HTTP for everything that has no handler: files of the document root.

use std::{
    convert::Infallible,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{header, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{combinators::UnsyncBoxBody, BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use super::{
    answer::{error_page, SERVER},
    event::{EventSink, Level},
    stream::Stream,
};

const HANDLER_LOG: &str = "request_handler.WebSocketRequestHandler";

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The HTTP side of the server.
#[derive(Debug)]
pub(super) struct Fallback {
    files: ServeDir,
    events: Arc<EventSink>,
}

impl Fallback {
    pub(super) fn new(document_root: &Path, events: Arc<EventSink>) -> Self {
        Self { files: ServeDir::new(document_root), events }
    }

    /// Answers the requests of a connection whose first bytes have been read already.
    pub(super) async fn serve(
        &self,
        stream: Stream,
        first: Vec<u8>,
        mut stop: watch::Receiver<bool>,
    ) {
        let io = TokioIo::new(Replay { first, stream });
        let service =
            service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let mut builder = http1::Builder::new();
        builder.half_close(true);
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            // a peer that breaks off or sends nonsense has been answered by hyper
            _ = connection.as_mut() => return,
            _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let line = self
            .events
            .wants(Level::Info)
            .then(|| format!("{} {} {:?}", request.method(), request.uri(), request.version()));
        let mut response = match *request.method() {
            Method::GET | Method::HEAD => self.file(request).await,
            Method::POST => page(StatusCode::NOT_IMPLEMENTED, "Can only POST to CGI scripts"),
            ref method => {
                let message = format!("Unsupported method ('{method}')");
                page(StatusCode::NOT_IMPLEMENTED, &message)
            }
        };
        response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
        if let Some(line) = line {
            let status = response.status().as_u16();
            self.events.line(Level::Info, HANDLER_LOG, || format!("\"{line}\" {status} -"));
        }
        response
    }

    async fn file(&self, request: Request<Incoming>) -> Response<Body> {
        match self.files.clone().oneshot(request).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                page(StatusCode::NOT_FOUND, "File not found")
            }
            Ok(response) => response.map(BodyExt::boxed_unsync),
            Err(never) => match never {},
        }
    }
}

fn page(status: StatusCode, message: &str) -> Response<Body> {
    let body = Full::from(error_page(status.as_u16(), message)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html;charset=utf-8"));
    response
}

/// A stream that gives back bytes that were read already before it goes on.
struct Replay {
    first: Vec<u8>,
    stream: Stream,
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..count]);
        self.first.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
