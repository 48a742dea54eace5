//! The running server.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, RwLock,
    },
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinHandle,
};

use super::{
    accept::{accept_all, admit},
    listener::{is_peers_fault, Accepted, Listener},
    stream::Stream,
};
use crate::{
    connection::{Flusher, Outcome, ServerClose, Transport},
    locks::{lock, write},
    runtime::{start as start_runtime, task},
    server::{
        admission::{arrivals::Arrivals, client_address::ClientAddress, permit::Admission},
        config::Config,
        http::HttpServer,
        http2,
        keepalive::KeepaliveThread,
        log::{
            event::{Event, EventSink},
            panics,
            repeated::RepeatedEvent,
        },
        metrics,
        registry::Registry,
        routes::Routes,
        slow_subscribers::make_broker,
        state::{Acceptor, ServerState},
    },
    system::{Native, System},
    topics::Broker,
};

/// The most threads for what may block: files, and questions to Python about a connection. When
/// hundreds of clients fetch files, the 512 of tokio wait for one another: of 500 requests for a small
/// file at a time they answer about half as many in a second.
const BLOCKING_THREADS: usize = 64;

/// How long a server that stops waits for opening handshakes: some thousand times what one takes.
const OPENING_TIME: Duration = Duration::from_millis(100);

/// A running server.
pub struct Server {
    runtime: Mutex<Option<Runtime>>,
    state: Arc<ServerState>,
    stop: watch::Sender<bool>,
    /// The tasks that accept connections for handlers and files.
    accepting: Mutex<Vec<JoinHandle<()>>>,
    ended: AtomicBool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("config", &self.state.config).finish_non_exhaustive()
    }
}

impl Server {
    /// A server without listeners.
    ///
    /// # Errors
    /// If the system has no threads for it.
    pub fn new(
        config: Config,
        routes: Arc<Routes>,
        acceptor: Arc<dyn Acceptor>,
        events: Arc<EventSink>,
    ) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(BLOCKING_THREADS);
        builder.thread_name("fastwsh-io").enable_all();
        // on a processor that handlers share with it, it accepts what has come meanwhile at once,
        // instead of interrupting them for each connection
        builder.on_thread_start(Native::interrupt_no_thread);
        let runtime = start_runtime(&mut builder)?;
        panics::report_to(&events);
        let (stop, _) = watch::channel(false);
        let registry = Arc::new(Registry::default());
        let keepalive_thread = KeepaliveThread::start(
            registry.clone(),
            events.clone(),
            &config.limits,
            config.keepalive,
        )?;
        let state = ServerState {
            http: HttpServer::new(&config, events.clone()),
            admission: Admission::new(&config.limits, config.shared_counts.clone()),
            arrivals: Arrivals::default(),
            broker: Arc::new(make_broker(&config, events.clone())),
            refused: RepeatedEvent::default(),
            without_header: RepeatedEvent::default(),
            failing: RepeatedEvent::default(),
            tls: RwLock::new(config.tls.as_ref().map(|tls| offered(tls, config.http2))),
            config,
            routes,
            credential: RwLock::new(None),
            acceptor,
            events,
            registry,
            drains: Arc::default(),
            flusher: Flusher::start()?,
            keepalive_thread,
        };
        Ok(Self {
            runtime: Mutex::new(Some(runtime)),
            state: Arc::new(state),
            stop,
            accepting: Mutex::default(),
            ended: AtomicBool::new(false),
        })
    }

    /// Requires an Authorization header of exactly this value; `None` requires nothing.
    pub fn set_credential(&self, credential: Option<String>) {
        *write(&self.state.credential) = credential;
    }

    /// Uses other certificates for new connections.
    pub fn set_tls(&self, config: &Arc<ServerConfig>) {
        let config = offered(config, self.state.config.http2);
        *write(&self.state.tls) = Some(config);
    }

    /// The live connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.state.registry
    }

    /// The topics.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.state.broker
    }

    /// Accepts from a bound and listening TCP or Unix socket.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub fn listen(&self, socket: OwnedFd) -> io::Result<()> {
        let Some(handle) = self.handle() else { return Ok(()) };
        let guard = handle.enter();
        let listener = Listener::new(socket)?;
        drop(guard);
        let state = self.state.clone();
        let mut stop = self.stop.subscribe();
        let accepting = handle.spawn(task(async move {
            tokio::select! {
                () = accept_all(listener, state, stop.clone()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }));
        lock(&self.accepting).push(accepting);
        Ok(())
    }

    /// Serves a connection that the caller has accepted from a TCP or Unix socket.
    ///
    /// # Errors
    /// If it is no socket.
    pub fn serve_accepted(&self, socket: OwnedFd) -> io::Result<()> {
        let Some(handle) = self.handle() else { return Ok(()) };
        let accepted = match Accepted::new(socket) {
            Err(error) if is_peers_fault(&error) => return Ok(()),
            accepted => accepted?,
        };
        let (state, stop) = (self.state.clone(), self.stop.subscribe());
        handle.spawn(task(async move { admit(accepted, &state, &stop) }));
        Ok(())
    }

    /// Stops accepting, until [`Self::listen`] is called again; open connections stay. The sockets
    /// are closed when this returns. A task of the server must not call this.
    pub fn stop_listening(&self) {
        let tasks = std::mem::take(&mut *lock(&self.accepting));
        let Some(handle) = self.handle() else { return };
        for task in tasks {
            task.abort();
            // the task was cancelled, which is an error for the thread that waits for it
            let _ = handle.block_on(task);
        }
    }

    /// Serves a connection of HTTP/3, whose streams come as those of HTTP/2 on a Unix socket.
    /// Returns `false` if there are too many connections.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub fn serve_http3(
        &self,
        socket: OwnedFd,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> io::Result<bool> {
        let Some(handle) = self.handle() else { return Ok(false) };
        let state = &self.state;
        state.arrivals.note_accepted();
        let client = match ClientAddress::new(Some(peer), &state.config.proxies, &state.admission) {
            Ok(client) => client,
            Err(full) => {
                state.log_refused(Some(peer), full);
                return Ok(false);
            }
        };
        let guard = handle.enter();
        let stream = Stream::unix(socket)?;
        drop(guard);
        let stop = self.stop.subscribe();
        handle.spawn(task(http2::serve_http3(stream, client, local, state.clone(), stop)));
        Ok(true)
    }

    /// Answers `/metrics` and `/healthz` on a bound and listening socket.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub fn listen_for_metrics(&self, socket: OwnedFd) -> io::Result<()> {
        let Some(handle) = self.handle() else { return Ok(()) };
        let guard = handle.enter();
        let listener = Listener::new(socket)?;
        drop(guard);
        let (state, stop) = (self.state.clone(), self.stop.subscribe());
        handle.spawn(task(metrics::serve(listener, state, stop)));
        Ok(())
    }

    /// The metrics as of now, in Prometheus' text format.
    pub fn metrics(&self) -> String {
        metrics::describe(&self.state)
    }

    /// Ends a connection's subscriptions and its socket after its handler: see
    /// [`Transport::finish`].
    pub fn finish(&self, transport: &Arc<Transport>, outcome: Outcome) {
        self.state.broker.unsubscribe_all(transport);
        if let Some(socket) = transport.finish(outcome) {
            if let Some(handle) = self.handle() {
                let _guard = handle.enter();
                handle.spawn(task(self.state.drains.drain(socket)));
            }
        }
    }

    /// The runtime for tasks; `None` after [`Self::end`], which closes the runtime's descriptors.
    fn handle(&self) -> Option<Handle> {
        lock(&self.runtime).as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Stops accepting, and sends a close frame to every connection, also to those that were about to
    /// open.
    pub fn close(&self, server_close: &ServerClose) {
        self.stop.send_replace(true);
        self.state.registry.let_openings_end(OPENING_TIME);
        self.state.registry.close(server_close);
    }

    /// Ends all tasks, when the peers' systems have taken what was sent. To be called after
    /// [`Self::close`] and [`Registry::wait_empty`].
    pub fn end(&self) {
        self.state.drains.wait_delivered();
        let runtime = lock(&self.runtime).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
        // the handle of a task that has ended still holds the runtime's descriptors
        lock(&self.accepting).clear();
        self.state.flusher.stop();
        self.state.keepalive_thread.stop();
        self.state.broker.stop();
        self.ended.store(true, Ordering::SeqCst);
        self.state.events.send(Event::End);
    }

    /// Whether [`Self::end`] was called. A caller that waits for [`Event::End`] needs this, as that
    /// event is lost if too many events came before it.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// What TLS offers its clients.
fn offered(config: &Arc<ServerConfig>, http2: bool) -> Arc<ServerConfig> {
    if http2 {
        http2::offer(config)
    } else {
        config.clone()
    }
}
