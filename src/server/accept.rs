//! Listeners and request heads.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    answer::Refusal,
    config::{Concurrency, Config, Routes},
    decision::{decide, is_for_handler, Decision},
    drain::drain,
    event::{EventSink, Level},
    fallback::{End, Fallback, Visit},
    flusher::Flusher,
    listen::{is_peers_fault, Accepted, Listener},
    registry::Registry,
    socket::Socket,
    stream::Stream,
    transport::{Outcome, Transport},
};
use crate::protocol::head::{HeadError, HeadReader, RequestHead};

/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) const HANDLER_LOG: &str = "request_handler.WebSocketRequestHandler";
const SERVER_LOG: &str = "websocket_server.WebSocketServer";

/// A connection whose resource has a handler; its opening handshake has not been judged.
#[derive(Debug)]
pub struct Candidate {
    /// The connection.
    pub transport: Arc<Transport>,
    /// Its number in the server's registry, from which the taker removes it.
    pub id: u64,
    /// The request.
    pub head: RequestHead,
    /// The path with its query: the request target, or what an absolute one contains.
    pub resource: String,
    /// Where its handler runs.
    pub concurrency: Concurrency,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The peer's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
}

/// Who takes connections whose resource has a handler.
pub trait Acceptor: Send + Sync {
    /// Takes a candidate; must not block.
    fn accept(self: Arc<Self>, candidate: Candidate);
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) routes: Arc<Routes>,
    pub(super) credential: RwLock<Option<String>>,
    tls: RwLock<Option<Arc<ServerConfig>>>,
    acceptor: Arc<dyn Acceptor>,
    pub(super) events: Arc<EventSink>,
    registry: Arc<Registry>,
    flusher: Arc<Flusher>,
    fallback: Fallback,
}

impl Shared {
    fn uses_tls(&self) -> bool {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// A running server.
pub struct Server {
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Server")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without listeners.
    ///
    /// # Errors
    /// If threads cannot be had.
    pub fn new(
        config: Config,
        routes: Arc<Routes>,
        acceptor: Arc<dyn Acceptor>,
        events: Arc<EventSink>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fastwsh-io")
            .enable_all()
            .build()?;
        let (stop, _) = watch::channel(false);
        let shared = Shared {
            fallback: Fallback::new(&config, events.clone()),
            tls: RwLock::new(config.tls.clone()),
            config,
            routes,
            credential: RwLock::new(None),
            acceptor,
            events,
            registry: Arc::new(Registry::default()),
            flusher: Flusher::start()?,
        };
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            shared: Arc::new(shared),
            stop,
        })
    }

    /// Requires an Authorization header of exactly this value, or none.
    pub fn set_credential(&self, credential: Option<String>) {
        *self.shared.credential.write().unwrap_or_else(PoisonError::into_inner) = credential;
    }

    /// Uses other certificates for connections from here on.
    pub fn set_tls(&self, config: Arc<ServerConfig>) {
        *self.shared.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    /// The live connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Accepts from a bound and listening TCP or Unix socket.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub fn listen(&self, socket: OwnedFd) -> io::Result<()> {
        let guard = self.handle.enter();
        let listener = Listener::new(socket)?;
        drop(guard);
        let shared = self.shared.clone();
        let mut stop = self.stop.subscribe();
        self.handle.spawn(async move {
            tokio::select! {
                () = accept_all(listener, shared, stop.clone()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        Ok(())
    }

    /// Ends a connection's socket after its handler: see [`Transport::finish`].
    pub fn finish(&self, transport: &Transport, outcome: Outcome) {
        if let Some(socket) = transport.finish(outcome) {
            self.handle.spawn(drain(socket));
        }
    }

    /// Stops accepting and says good-bye to every connection.
    pub fn close(&self, close_frame: &[u8]) {
        self.stop.send_replace(true);
        self.shared.registry.close(close_frame);
    }

    /// Ends all tasks; for after [`Self::close`] and [`Registry::wait_empty`].
    pub fn end(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
        self.shared.flusher.stop();
    }
}

async fn accept_all(listener: Listener, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => take_in(accepted, &shared, &stop),
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                shared.events.line(Level::Error, SERVER_LOG, || {
                    format!("Cannot accept a connection: {error}; trying again")
                });
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes a connection in. One whose request for a handler has come already, as most have, need not
/// be made known to tokio and taken out of it again.
fn take_in(accepted: Accepted, shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    let peer = accepted.peer;
    let mut first = Vec::new();
    if !shared.uses_tls() {
        match accepted.read_first() {
            Some(read) => first = read,
            None => return,
        }
        if let Ok(Some((head, length))) = HeadReader::default().poll(&first) {
            if is_for_handler(&head, shared) {
                if let Err(Decision::Handler { resource, concurrency }) = decide(&head, shared) {
                    let rest = first.split_off(length);
                    let socket = Socket::plain(accepted.into_socket());
                    let request = Request { head, resource, concurrency, tls: false, peer };
                    return hand_over(socket, rest, request, shared);
                }
            }
        }
    }
    match accepted.into_stream() {
        Ok(stream) => {
            tokio::spawn(serve(stream, peer, first, shared.clone(), stop.clone()));
        }
        Err(error) => shared
            .events
            .line(Level::Error, SERVER_LOG, || format!("Cannot serve a connection: {error}")),
    }
}

/// A request for a handler.
struct Request {
    head: RequestHead,
    resource: String,
    concurrency: Concurrency,
    tls: bool,
    peer: Option<SocketAddr>,
}

/// Gives a connection to who runs its handler.
fn hand_over(socket: Socket, rest: Vec<u8>, request: Request, shared: &Shared) {
    let Request { head, resource, concurrency, tls, peer } = request;
    let transport = Arc::new(Transport::new(socket, rest, shared.flusher.clone()));
    let Some(id) = shared.registry.add(transport.clone()) else { return };
    let candidate = Candidate { transport, id, head, resource, concurrency, tls, peer };
    shared.acceptor.clone().accept(candidate);
}

async fn serve(
    stream: Stream,
    peer: Option<SocketAddr>,
    first: Vec<u8>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let opening = open(stream, peer, first, &shared);
    let opened = match shared.config.head_timeout {
        Some(limit) => timeout(limit, opening).await.unwrap_or(None),
        None => opening.await,
    };
    let Some((stream, mut buffer, read)) = opened else { return };
    let (head, length) = match read {
        Ok(whole) => whole,
        Err(error) => return Box::pin(refuse_head(stream, peer, &shared, &error)).await,
    };
    let mut rest = buffer.split_off(length);
    let (stream, head, decision) = match decide(&head, &shared) {
        Err(decision) => (stream, head, decision),
        Ok(resource) => {
            let visit = Visit { stream, peer, head, resource, rest };
            let judge = shared.clone();
            let judge = Box::new(move |head: &RequestHead| decide(head, &judge));
            let visitor = shared.registry.visit();
            // boxed, as all that few connections need: every task has room for its largest part
            let end = Box::pin(shared.fallback.serve(visit, judge, stop)).await;
            drop(visitor);
            match end {
                End::Other { stream, head, verdict, rest: behind } => {
                    rest = behind;
                    (stream, head, verdict)
                }
                End::BadHead { stream, error } => {
                    return Box::pin(refuse_head(stream, peer, &shared, &error)).await;
                }
                End::Finished(Some(stream)) => return Box::pin(send_and_drain(stream, &[])).await,
                End::Finished(None) => return,
            }
        }
    };
    match decision {
        Decision::Handler { resource, concurrency } => {
            let tls = stream.is_tls();
            let Ok(socket) = stream.into_socket() else { return };
            let request = Request { head, resource, concurrency, tls, peer };
            hand_over(socket, rest, request, &shared);
        }
        Decision::Refuse(refusal) => {
            let body = head.method != "HEAD";
            Box::pin(send_and_drain(stream, &refusal.format(body))).await;
        }
    }
}

type HeadResult = Result<(RequestHead, usize), HeadError>;

/// Does the TLS handshake if there is to be one, and reads behind `first` until the request head is
/// whole; `None` if the peer sent nothing or went away.
async fn open(
    stream: Stream,
    peer: Option<SocketAddr>,
    first: Vec<u8>,
    shared: &Shared,
) -> Option<(Stream, Vec<u8>, HeadResult)> {
    let config = shared.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut stream = match (stream, config) {
        (Stream::Tcp(stream), Some(config)) => {
            match Box::pin(TlsAcceptor::from(config).accept(stream)).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(error) => {
                    shared.events.line(Level::Info, SERVER_LOG, || {
                        format!("TLS handshake with {} failed: {error}", describe(peer))
                    });
                    return None;
                }
            }
        }
        (stream, _) => stream,
    };
    let mut buffer = first;
    let mut reader = HeadReader::default();
    match reader.poll(&buffer) {
        Ok(None) => {}
        Ok(Some(whole)) => return Some((stream, buffer, Ok(whole))),
        Err(error) => return Some((stream, buffer, Err(error))),
    }
    loop {
        buffer.reserve(1024);
        let read = match stream.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return None,
            Ok(0) => reader.finish(&buffer),
            Ok(_) => match reader.poll(&buffer) {
                Ok(None) => continue,
                Ok(Some(whole)) => Ok(whole),
                Err(error) => Err(error),
            },
            Err(_) => return None,
        };
        return Some((stream, buffer, read));
    }
}

async fn refuse_head(stream: Stream, peer: Option<SocketAddr>, shared: &Shared, error: &HeadError) {
    let (status, reason) = error.answer();
    shared.events.line(Level::Warning, HANDLER_LOG, || {
        format!("{} - code {status}, message {reason}", describe(peer))
    });
    let refusal = Refusal { reason: Some(reason), ..Refusal::new(status) };
    send_and_drain(stream, &refusal.format(true)).await;
}

async fn send_and_drain(mut stream: Stream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
        if let Ok(socket) = stream.into_socket() {
            drain(Arc::new(socket)).await;
        }
    }
}

/// An address for a log line.
fn describe(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.ip().to_string())
}
