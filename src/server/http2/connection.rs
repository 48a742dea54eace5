//! A connection and its streams: their number, the idle time, and the end.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    task::Poll,
    time::Duration,
};

use h2::{server::Builder, Reason};
use tokio::{
    sync::{watch, Notify},
    time::{sleep, timeout},
};

use super::{
    driver::{Driver, NewStream},
    piece::Piece,
    stream::{self, Ended, StreamContext},
    wire::Wire,
};
use crate::{
    connection::stall::{stalled, Uptake},
    runtime::task,
    server::{
        admission::client_address::ClientAddress,
        limits::ConnectionLimits,
        listen::stream::Stream,
        log::event::{describe, Level, SERVER_LOG},
        registry::HttpVersion,
        state::ServerState,
    },
};

/// The most bytes that a peer may send on a stream before the handler has received them. Room for the
/// headers of two messages of 64 KiB would cost more where many streams share a connection.
pub(super) const STREAM_WINDOW: u32 = 128 * 1024;

/// The largest possible window (RFC 9113 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The most bytes of a stream that may wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;

/// How many streams that we have reset are remembered, and for how long. Frames that the peer has
/// sent before it knew are ignored meanwhile. Later, each counts as an error of the peer.
const REMEMBERED_RESETS: usize = 1024;
const RESET_MEMORY: Duration = Duration::from_secs(30);

/// How many errors of streams a peer may make on a connection, each of which costs some hundred bytes
/// until the peer has read our reset.
const STREAM_ERRORS: usize = 10_000;

/// The time for the peer to read our last frame.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the tasks of streams report to their connection.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    /// Streams that the peer has reset before the answer, minus those that were answered.
    resets: AtomicUsize,
    /// Notified when a stream has ended.
    ended: Notify,
}

impl Streams {
    /// Whether the peer has reset more streams before the answer than it may.
    fn has_many_resets(&self, limits: &ConnectionLimits) -> bool {
        let resets = self.resets.load(Ordering::SeqCst);
        limits.http2_resets.is_some_and(|limit| resets > limit)
    }

    fn end(&self, how: Ended) {
        if how == Ended::Unanswered {
            self.resets.fetch_add(1, Ordering::SeqCst);
        } else {
            let less = |resets: usize| resets.checked_sub(1);
            let _ = self.resets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.ended.notify_one();
    }
}

/// Serves a connection; `first` are the bytes that were read already.
pub(in crate::server) async fn serve(
    stream: Stream,
    first: Vec<u8>,
    client: ClientAddress,
    state: Arc<ServerState>,
    stop: watch::Receiver<bool>,
) {
    let (local, tls) = (stream.local_addr(), stream.is_tls());
    let common = StreamContext { version: HttpVersion::Two, state, client, local, tls, stop };
    let limits = common.state.config.limits;
    serve_streams(first, stream, common, &limits).await;
}

/// Serves a connection of HTTP/3, whose streams come as those of HTTP/2 on `stream`. `local` is
/// the server's address.
pub(in crate::server) async fn serve_http3(
    stream: Stream,
    client: ClientAddress,
    local: SocketAddr,
    state: Arc<ServerState>,
    stop: watch::Receiver<bool>,
) {
    let limits = state.config.limits;
    let limits = ConnectionLimits {
        http2_streams: limits.http3_streams,
        http2_resets: limits.http3_resets,
        ..limits
    };
    let version = HttpVersion::Three;
    let common = StreamContext { version, state, client, local: Some(local), tls: true, stop };
    serve_streams(Vec::new(), stream, common, &limits).await;
}

async fn serve_streams(
    first: Vec<u8>,
    stream: Stream,
    common: StreamContext,
    limits: &ConnectionLimits,
) {
    let _counted = common.state.registry.count_http(common.version);
    let (wire, stream) = Wire::new(first, stream, common.state.drains.clone());
    let handshake = builder(limits).handshake::<_, Piece>(stream);
    let opened = match limits.head_time {
        Some(limit) => timeout(limit, handshake).await.ok(),
        None => Some(handshake.await),
    };
    let connection = match opened {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => return log_fault(&error, &common),
        None => return,
    };
    let driver = Arc::new(Driver::new(connection, wire, common.state.flusher.clone()));
    let _open = Open(driver.clone());
    run(&driver, &Arc::new(common), limits).await;
}

/// Ends the connection when it is dropped, however its task ends.
struct Open(Arc<Driver>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn builder(limits: &ConnectionLimits) -> Builder {
    let streams = to_u32(limits.http2_streams);
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(streams)
        .initial_window_size(STREAM_WINDOW)
        // so that streams with handlers that do not receive leave room for the others
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams).min(MAX_WINDOW))
        .max_send_buffer_size(SEND_BUFFER)
        // `h2` counts small frames that came for ended streams for ever; here, streams take theirs
        // after each poll
        .data_frame_budget(usize::MAX)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .max_header_list_size(to_u32(Some(limits.head.header_bytes)));
    if let Some(resets) = limits.http2_resets {
        builder.max_pending_accept_reset_streams(resets);
        builder.max_local_error_reset_streams(Some(STREAM_ERRORS));
    } else {
        builder.max_pending_accept_reset_streams(usize::MAX).max_local_error_reset_streams(None);
    }
    builder
}

fn to_u32(limit: Option<usize>) -> u32 {
    limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(u32::MAX)
}

async fn run(driver: &Arc<Driver>, common: &Arc<StreamContext>, limits: &ConnectionLimits) {
    let mut stop = common.stop.clone();
    let mut stalled = pin!(stalled(|| match common.version {
        // the server's own thread has the other end of the socket, and may be slow
        HttpVersion::Three => Uptake::default(),
        _ => driver.uptake(),
    }));
    let streams = Arc::new(Streams::default());
    let (mut stopping, mut is_idle, mut ending) = (false, false, false);
    let mut last_moment = pin!(after(None));
    let mut idle = pin!(after(limits.head_time));
    let has_streams = || {
        streams.open.load(Ordering::SeqCst) > 0
            || driver.with(|connection| connection.has_streams()) == Some(true)
    };
    loop {
        let is_busy = has_streams();
        let end_reason = if ending {
            None
        } else if streams.has_many_resets(limits) {
            log_excess("resets streams without end", common);
            Some(Reason::ENHANCE_YOUR_CALM)
        } else {
            ((stopping || is_idle) && !is_busy).then_some(Reason::NO_ERROR)
        };
        if let Some(reason) = end_reason {
            ending = true;
            driver.with(|connection| connection.abrupt_shutdown(reason));
            last_moment.set(after(Some(PEER_TIMEOUT)));
        }
        is_idle = false;
        tokio::select! {
            accepted = poll_fn(|context| match driver.poll_accept(context) {
                // the last bytes of the last stream have left
                Poll::Pending if stopping && !ending && !has_streams() => Poll::Ready(None),
                polled => polled.map(Some),
            }) => {
                match accepted {
                    Some(Some(Ok(stream))) => start(stream, driver, common, &streams),
                    Some(Some(Err(error))) => return log_fault(&error, common),
                    Some(None) => return,
                    None => {}
                }
            }
            () = streams.ended.notified() => idle.set(after(limits.head_time)),
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                driver.with(h2::server::Connection::graceful_shutdown);
            }
            () = idle.as_mut(), if !ending => {
                is_idle = true;
                idle.set(after(limits.head_time));
            }
            () = stalled.as_mut(), if stopping => return,
            () = last_moment.as_mut() => return,
        }
    }
}

/// Starts the task of a stream.
fn start(
    (request, respond): NewStream,
    driver: &Arc<Driver>,
    common: &Arc<StreamContext>,
    streams: &Arc<Streams>,
) {
    streams.open.fetch_add(1, Ordering::SeqCst);
    let (driver, common, streams) = (driver.clone(), common.clone(), streams.clone());
    tokio::spawn(task(async move {
        let ended = stream::serve(request, respond, &driver, &common).await;
        streams.end(ended);
    }));
}

/// Logs that a limit has ended the connection, and which.
fn log_excess(what: &str, common: &StreamContext) {
    common.state.events.line(Level::Warning, SERVER_LOG, || {
        let peer = describe(common.client.address);
        let option = match common.version {
            HttpVersion::Three => "--max-http3-resets",
            HttpVersion::One | HttpVersion::Two => "--max-http2-resets",
        };
        format!("{peer} {what}: connection closed ({option})")
    });
}

/// Logs which error of the client ends its connection, for people who test a client.
fn log_fault(error: &h2::Error, common: &StreamContext) {
    // do not log GOAWAY of the client, or that it has disconnected
    let Some(reason) = error.reason().filter(|_| error.is_library()) else { return };
    if reason == Reason::ENHANCE_YOUR_CALM {
        // `h2` counts the resets of streams that it has not passed on yet, and CONTINUATION frames,
        // and does not tell which of them it was
        return log_excess("resets streams, or continues a head, without end", common);
    }
    common.state.events.line(Level::Info, SERVER_LOG, || {
        let peer = describe(common.client.address);
        format!("{peer} breaks HTTP/2, {reason:?}: connection closed")
    });
}

/// Waits for this time; `None` means for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}
