//! Answers of plain HTTP.

use std::{
    future::{poll_fn, Future},
    io,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use h2::{server::SendResponse, Reason, SendStream};
use http::{header, HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes};
use tokio::{sync::watch, time::timeout};

use super::{
    driver::Driver,
    headers::{add_date, CONNECTION_HEADERS},
    piece::Piece,
};
use crate::{
    connection::stall::{given_up, Uptake},
    server::http::{body::Body, refusal::Refusal},
};

/// The most bytes to pass to the stream at a time.
const PIECE: usize = 16 * 1024;

/// Makes an answer from a refusal.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let (body, own) = refusal.parts();
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() =
        http::StatusCode::from_u16(refusal.status).unwrap_or(http::StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    let given = refusal.headers.iter().map(|(name, value)| (&**name, value));
    for (name, value) in own.iter().map(|(name, value)| (*name, value)).chain(given) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    response
}

/// How long to wait for a peer that reads nothing.
pub(super) struct Patience<'a> {
    pub(super) time_limit: Option<Duration>,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) driver: &'a Driver,
}

impl Patience<'_> {
    /// Waits for the peer to take something; fails if this takes too long.
    async fn wait(&self, capacity: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
        let look = || Uptake { waits: true, ..self.driver.uptake() };
        let limited = async {
            match self.time_limit {
                Some(limit) => timeout(limit, capacity).await?,
                None => capacity.await,
            }
        };
        tokio::select! {
            biased;
            capacity = limited => capacity,
            () = given_up(self.stop, look) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Sends an answer, and gives up if the peer reads nothing for too long. `has_body` is false for an
/// answer to HEAD.
pub(super) async fn send(
    mut respond: SendResponse<Piece>,
    response: Response<Body>,
    has_body: bool,
    patience: Patience<'_>,
) {
    let (mut parts, body) = response.into_parts();
    for name in CONNECTION_HEADERS {
        parts.headers.remove(name);
    }
    add_date(&mut parts.headers);
    let may_have_length = parts.status != http::StatusCode::NO_CONTENT
        && parts.status != http::StatusCode::NOT_MODIFIED;
    if let (Some(length), true) = (body.size_hint().exact(), may_have_length) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    let ends = !has_body || body.is_end_stream();
    // this fails if the peer has reset the stream, or has gone
    let Ok(mut stream) = respond.send_response(Response::from_parts(parts, ()), ends) else {
        return;
    };
    if !ends && send_body(&mut stream, body, &patience).await.is_err() {
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

async fn send_body(
    stream: &mut SendStream<Piece>,
    mut body: Body,
    patience: &Patience<'_>,
) -> io::Result<()> {
    loop {
        let frame = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
            }
            Pin::new(&mut body).poll_frame(context)
        });
        let Some(frame) = frame.await else { break };
        let Ok(mut data) = frame?.into_data() else { continue };
        while !data.is_empty() {
            let capacity = send_capacity(stream, data.len().min(PIECE));
            let capacity = patience.wait(capacity).await?;
            let piece = data.split_to(capacity.min(data.len()));
            stream.send_data(piece.into(), false).map_err(io::Error::other)?;
        }
    }
    stream.send_data(Bytes::new().into(), true).map_err(io::Error::other)
}

/// Asks to send `wanted` bytes, and waits until the windows let at least one pass (RFC 9113 5.2.1).
/// Returns how many may be sent.
///
/// # Errors
/// If the peer has reset the stream, or has gone.
pub(super) async fn send_capacity(
    stream: &mut SendStream<Piece>,
    wanted: usize,
) -> io::Result<usize> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
    Ok(stream.capacity().min(wanted))
}
