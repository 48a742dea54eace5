//! Plain HTTP for everything that has no handler: files of the document root, listings, CGI.
//!
//! hyper does the framing of requests and answers and keeps connections open. The server reads
//! requests from the head that [`crate::protocol::head`] has parsed, because hyper refuses some
//! heads that pywebsocket accepts.

pub(super) mod alternative;
mod answers;
pub(super) mod body;
mod cgi;
mod fallback;
mod file_body;
mod files;
mod framing;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http_stream;
pub(super) mod idle_timeout;
mod listing;
mod locate;
mod path;
mod private_files;
pub(super) mod refusal;

use std::{convert::Infallible, net::SocketAddr, panic::resume_unwind, path::PathBuf, sync::Arc};

use http::{header, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    task::{spawn_blocking, JoinError},
};

pub(super) use self::fallback::{AnsweredBy, End, HttpRequest};
pub(super) use self::framing::{awaits_continue, Framing};

use self::{
    alternative::alternative,
    body::{Body, RequestBody},
    cgi::{CgiOutcome, Client, Runner},
    fallback::FallbackRequest,
    files::ContentTypes,
    http_stream::{Busy, Decide, HttpStream},
    locate::{Found, Locator},
    path::Resource,
    private_files::PrivateFiles,
    refusal::SERVER,
};
use super::{
    config::Config,
    limits::ConnectionLimits,
    listen::stream::Stream,
    log::{
        escape::printable,
        event::{EventSink, Level, HANDLER_LOG},
        panics::caught,
    },
};
use crate::{
    connection::stall::stalled,
    protocol::{
        handshake::Opening,
        head::{latin1, RequestHead},
    },
};

/// The most local redirects of CGI programs for one request (RFC 3875 6.2.2).
const MAX_LOCAL_REDIRECTS: usize = 10;

/// The HTTP side of the server.
#[derive(Debug)]
pub(super) struct HttpServer {
    locator: Locator,
    types: Arc<ContentTypes>,
    runner: Runner,
    limits: ConnectionLimits,
    http3_port: Option<u16>,
    events: Arc<EventSink>,
}

/// A connection with a first request for the fallback.
pub(super) struct HttpConnection {
    pub(super) stream: Stream,
    pub(super) head: RequestHead,
    pub(super) http_request: HttpRequest,
    /// Bytes that were read after the head.
    pub(super) rest: Vec<u8>,
}

/// A request of HTTP/2 or HTTP/3 for the fallback.
pub(super) struct PageRequest {
    pub(super) head: RequestHead,
    pub(super) http_request: HttpRequest,
    pub(super) framing: Framing,
    pub(super) body: RequestBody,
    /// The server's address.
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: bool,
}

impl HttpServer {
    pub(super) fn new(config: &Config, events: Arc<EventSink>) -> Self {
        let locator = Locator::new(
            &config.document_root,
            &config.cgi.directories,
            config.cgi.is_executable.clone(),
            PrivateFiles::new(&config.private_files, config.serve_dot_files),
        );
        let root = locator.root().to_owned();
        Self {
            locator,
            types: Arc::new(ContentTypes::new(config.content_types.clone())),
            runner: Runner::new(config.cgi.clone(), root, events.clone()),
            limits: config.limits,
            http3_port: config.http3_port,
            events,
        }
    }

    /// Answers requests until the connection ends, or until `decide` says that a request is not for
    /// the fallback.
    pub(super) async fn serve<V: Send>(
        &self,
        connection: HttpConnection,
        decide: Decide<V>,
        mut stop: watch::Receiver<bool>,
    ) -> End<V> {
        let (local, tls) = (connection.stream.local_addr(), connection.stream.is_tls());
        let stream = HttpStream::new(connection, decide, &self.limits, stop.clone());
        {
            let service = service_fn(|request: Request<Incoming>| {
                let asked = stream.take_request();
                let stream = &stream;
                async move {
                    Ok::<_, Infallible>(match asked {
                        Some(asked) => {
                            let client = Client { peer: asked.http_request.peer, local, tls };
                            let body = request.into_body().map_err(Into::into).boxed_unsync();
                            self.answer(asked, body, client, || stream.busy()).await
                        }
                        None => answers::bad_request(),
                    })
                }
            });
            let mut builder = http1::Builder::new();
            builder
                .half_close(true)
                .title_case_headers(true)
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head_time);
            let connection = builder.serve_connection(TokioIo::new(stream.clone()), service);
            tokio::pin!(connection);
            let gone = stream.peer_gone();
            tokio::pin!(gone);
            let stalled = stalled(|| stream.uptake());
            tokio::pin!(stalled);
            let mut stopping = false;
            loop {
                tokio::select! {
                    // poll the connection first, so that `gone` sees an answer that begins in the
                    // same round
                    biased;
                    // a peer that breaks off needs no answer
                    _ = connection.as_mut() => break,
                    () = gone.as_mut() => break,
                    () = stalled.as_mut(), if stopping => {
                        stream.close();
                        break;
                    }
                    _ = stop.wait_for(|stop| *stop), if !stopping => {
                        stopping = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
        stream.end()
    }

    /// Answers a request with its own stream. Dropping the answer ends all work on it.
    pub(super) async fn answer_page(&self, request: PageRequest) -> Response<Body> {
        let PageRequest { head, http_request, framing, body, local, tls } = request;
        let client = Client { peer: http_request.peer, local, tls };
        self.answer(FallbackRequest { head, http_request, framing }, body, client, Busy::default)
            .await
    }

    async fn answer(
        &self,
        asked: FallbackRequest,
        body: RequestBody,
        client: Client,
        busy: impl Fn() -> Busy,
    ) -> Response<Body> {
        let line = self.events.wants(Level::Warning).then(|| request_line(&asked.head));
        let refused = Opening::is_meant(&asked.head)
            .then(|| (asked.http_request.resource.clone(), asked.head.version.clone()));
        let alternative =
            alternative(self.http3_port, &asked.head.version, client.tls, || client.local);
        let has_body = matches!(asked.framing, Framing::Length(1..));
        let mut body = Some((asked.framing, body));
        let response = caught(self.respond(asked, &mut body, client, busy)).await;
        let mut response = response.unwrap_or_else(|| {
            // the log has the cause
            answers::page(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        });
        if has_body && body.is_some() {
            // the body is unread, so the server does not know where the next request begins
            answers::close_behind(&mut response);
        }
        response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
        if let Some(alternative) =
            alternative.and_then(|value| HeaderValue::from_maybe_shared(value).ok())
        {
            response.headers_mut().entry(header::ALT_SVC).or_insert(alternative);
        }
        let status = response.status().as_u16();
        if let Some(line) = &line {
            self.events.line(Level::Info, HANDLER_LOG, || format!("\"{line}\" {status} -"));
        }
        if let (Some(line), 400..) = (line, status) {
            self.events.warn_refused(client.peer, status, "", || match &refused {
                Some((resource, _)) => format!("no handler for {}", printable(resource)),
                None => line,
            });
        }
        if let Some((resource, version)) = refused {
            self.events.refused(client.peer, &resource, status, &version);
        }
        response
    }

    async fn respond(
        &self,
        asked: FallbackRequest,
        body: &mut Option<(Framing, RequestBody)>,
        client: Client,
        busy: impl Fn() -> Busy,
    ) -> Response<Body> {
        let FallbackRequest { mut head, http_request, framing } = asked;
        let mut target = http_request.resource;
        if let Some(refusal) = self.refusal(&head.method, framing) {
            return refusal;
        }
        // each round is one resource: the requested one, and then those that CGI programs redirect
        // to
        for _ in 0..=MAX_LOCAL_REDIRECTS {
            let Some(resource) = Resource::parse(&target) else { return answers::bad_request() };
            let script = match self.find(resource.clone()).await {
                Found::Script(script) => script,
                Found::Forbidden => return answers::forbidden(),
                // only programs accept a body
                _ if head.method == "POST" => {
                    return answers::not_implemented("Can only POST to CGI scripts");
                }
                Found::File(file) => {
                    self.types.prepare().await;
                    return files::send(&head, *file, &self.types).await;
                }
                Found::Directory(path) => return self.list(target, path).await,
                Found::NoSlash => return answers::moved(&resource.with_slash()),
                Found::Outside => {
                    self.events.line(Level::Warning, HANDLER_LOG, || {
                        format!("{target:?} leads out of the document root: not served")
                    });
                    return answers::not_found();
                }
                Found::Missing => return answers::not_found(),
                Found::Unreadable => {
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    return answers::page(status, "Cannot read the file");
                }
            };
            let request =
                cgi::Request { head: &head, script: &script, resource: &resource, client };
            match self.runner.run(request, body.take(), busy()).await {
                CgiOutcome::Answer(response) => return response,
                CgiOutcome::LocalRedirect(location) => target = location,
            }
            // the program has consumed the body, so the next resource gets a GET
            if head.method == "POST" {
                "GET".clone_into(&mut head.method);
            }
        }
        answers::page(StatusCode::BAD_GATEWAY, "CGI scripts redirect to each other")
    }

    /// The answer to a request that no resource answers, by its method or its body.
    fn refusal(&self, method: &str, framing: Framing) -> Option<Response<Body>> {
        if !matches!(method, "GET" | "HEAD" | "POST") {
            return Some(answers::not_implemented(&format!("Unsupported method ('{method}')")));
        }
        match (framing, self.limits.http_body_bytes) {
            (Framing::Bad, _) => Some(answers::bad_request()),
            (Framing::Length(length), Some(limit)) if length > limit => {
                Some(answers::page(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large"))
            }
            _ => None,
        }
    }

    async fn find(&self, resource: Resource) -> Found {
        let locator = self.locator.clone();
        or_panic(spawn_blocking(move || locator.find(&resource)).await).unwrap_or(Found::Unreadable)
    }

    async fn list(&self, target: String, directory: PathBuf) -> Response<Body> {
        let locator = self.locator.clone();
        let page = spawn_blocking(move || {
            locator.list(&directory).map(|entries| listing::page(&target, &entries))
        });
        match or_panic(page.await) {
            Some(Ok(page)) => answers::html(page),
            _ => answers::page(StatusCode::NOT_FOUND, "No permission to list directory"),
        }
    }
}

/// The result of a blocking task; `None` if it was cancelled. A panic of the task goes on here.
fn or_panic<T>(result: Result<T, JoinError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(_) => None,
        },
    }
}

/// The request line, for the log.
fn request_line(head: &RequestHead) -> String {
    head.lines().next().map_or_else(String::new, |line| printable(latin1(line).trim_end()))
}
