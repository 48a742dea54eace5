//! CGI programs (RFC 3875), where pywebsocket's `--cgi-paths` allows them.
//!
//! The server reads the complete header of a response, and then passes the body on as it arrives.
//! It keeps pywebsocket's behaviour where a program could depend on it: an argument from the query,
//! variables that are empty instead of missing, the document root as working directory, the user
//! `nobody`.

mod environment;
mod messages;
mod output;
mod process;
mod relay;
mod shebang;
mod signals;

use std::{io, path::PathBuf, sync::Arc};

use http::{header, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;

pub(super) use self::environment::{Client, Request};
use self::{
    output::ScriptHead,
    process::{CgiJob, Failure},
};
use super::{
    answers,
    body::{Body, RequestBody},
    framing::Framing,
    http_stream::Busy,
};
use crate::server::{
    config::CgiConfig,
    log::event::{EventSink, Level, HANDLER_LOG},
};

/// The result of running a program.
pub(super) enum CgiOutcome {
    /// The program's answer, or an error page that says why there is none.
    Answer(Response<Body>),
    /// The program asks the server to answer with another resource (RFC 3875 6.2.2).
    LocalRedirect(String),
}

/// Runs programs.
#[derive(Debug)]
pub(super) struct Runner {
    config: CgiConfig,
    /// The document root with all links resolved, which is the programs' working directory.
    document_root: PathBuf,
    events: Arc<EventSink>,
}

impl Runner {
    pub(super) fn new(config: CgiConfig, document_root: PathBuf, events: Arc<EventSink>) -> Self {
        Self { config, document_root, events }
    }

    /// Runs a program and waits for the header of its response.
    pub(super) async fn run(
        &self,
        request: Request<'_>,
        body: Option<(Framing, RequestBody)>,
        busy: Busy,
    ) -> CgiOutcome {
        let body = match body {
            // the program must get the length before the body (RFC 3875 4.1.2), and of a chunked
            // body it is unknown
            Some((Framing::Chunked, _)) => {
                return CgiOutcome::Answer(answers::page(
                    StatusCode::LENGTH_REQUIRED,
                    "Length Required",
                ));
            }
            Some((Framing::Length(length), body)) if length > 0 => Some(body),
            _ => None,
        };
        let name = String::from_utf8_lossy(&request.script.name).into_owned();
        let job = CgiJob {
            environment: request.environment(&self.document_root, &self.config.server_name),
            argument: request.argument(),
            program: request.script.path.clone(),
            directory: self.document_root.clone(),
            user: self.config.user,
            timeout: self.config.timeout,
            body,
            body_wanted: request.head.method != "HEAD",
            name: name.clone(),
            events: self.events.clone(),
            busy,
        };
        match job.start().await {
            Ok((ScriptHead { local_redirect: Some(location), .. }, _)) => {
                CgiOutcome::LocalRedirect(location)
            }
            Ok((head, output)) => CgiOutcome::Answer(respond(head, output.boxed_unsync())),
            // the log has a line already, from the end of the process
            Err(Failure::TimedOut) => CgiOutcome::Answer(explain(&Failure::TimedOut)),
            Err(failure) => {
                let fault =
                    failure.may_be_the_shebang().then(|| shebang::fault(&request.script.path));
                let fault = fault.flatten().map_or_else(String::new, |fault| format!("; {fault}"));
                self.events.line(Level::Warning, HANDLER_LOG, || {
                    format!("CGI script {name:?}: {failure}{fault}")
                });
                CgiOutcome::Answer(explain(&failure))
            }
        }
    }
}

fn respond(head: ScriptHead, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    for (name, value) in head.headers {
        response.headers_mut().append(name, value);
    }
    // a 204 has no body (RFC 9110 15.3.5): the client would take the bytes for the next answer
    if head.status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

fn explain(failure: &Failure) -> Response<Body> {
    let (status, message) = match failure {
        Failure::Start(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => return answers::forbidden(),
            io::ErrorKind::ArgumentListTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request headers are too large for a CGI script",
            ),
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
                (StatusCode::SERVICE_UNAVAILABLE, "No process for the CGI script")
            }
            _ => (StatusCode::BAD_GATEWAY, "The CGI script cannot be started"),
        },
        Failure::Output(_) => (StatusCode::BAD_GATEWAY, "The CGI script gave no valid answer"),
        Failure::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The CGI script took too long"),
    };
    answers::page(status, message)
}
