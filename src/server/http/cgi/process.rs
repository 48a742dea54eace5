//! A program's process from start to end: input, output, messages, time limit and termination.
//!
//! One task owns the process and its pipes. It ends when the output has ended and the process is
//! reaped. It kills the process group when the time is up, when the client has gone, or when the
//! output is not a response. It does so always before reaping the process, so that the group's
//! number cannot belong to another process yet.

use std::{
    ffi::OsString,
    future::pending,
    io,
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use rustix::process::{kill_process_group, waitpid, Pid, Signal, WaitOptions};
use thiserror::Error;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStderr, ChildStdin, Command},
    time::sleep,
};

use super::{
    messages::log_messages,
    output::{BadOutput, ScriptHead},
    relay::{Output, OutputEnd, Relay, MAX_OUTPUT_BYTES},
    signals,
};
use crate::{
    os_error::strerror,
    runtime::task,
    server::{
        http::{http_stream::Busy, RequestBody},
        log::event::{EventSink, Level, HANDLER_LOG},
    },
};

const TIME_IS_UP: &str = "stopped: it took too long (see --cgi-timeout)";

/// Why there is no response.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The process could not be started.
    #[error("cannot be started: {}", why_not_started(.0))]
    Start(io::Error),
    /// The program wrote something else than a response.
    #[error("no valid response: {0}")]
    Output(BadOutput),
    /// The program exceeded its time limit.
    #[error("{TIME_IS_UP}")]
    TimedOut,
}

impl Failure {
    /// Whether a wrong first line of the program may be the cause.
    pub(super) fn may_be_the_shebang(&self) -> bool {
        match self {
            Self::Start(error) => error.kind() == io::ErrorKind::NotFound,
            Self::Output(bad) => matches!(bad, BadOutput::Nothing(_)),
            Self::TimedOut => false,
        }
    }
}

/// A program to run.
pub(super) struct CgiJob {
    pub(super) program: PathBuf,
    pub(super) argument: Option<OsString>,
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) directory: PathBuf,
    /// User and group to become.
    pub(super) user: Option<(u32, u32)>,
    pub(super) timeout: Option<Duration>,
    /// The request's body.
    pub(super) body: Option<RequestBody>,
    /// Whether the body of the response is sent to the client.
    pub(super) body_wanted: bool,
    /// The program's name for log lines.
    pub(super) name: String,
    pub(super) events: Arc<EventSink>,
    /// Held until the response's body has ended.
    pub(super) busy: Busy,
}

impl CgiJob {
    /// Starts the program and waits for the header of its response.
    pub(super) async fn start(mut self) -> Result<(ScriptHead, Output), Failure> {
        let mut child = self.command().spawn().map_err(Failure::Start)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::Start(io::ErrorKind::BrokenPipe.into()));
        };
        let (relay, answered, output) = Relay::new(stdout, self.body_wanted, self.busy);
        let process = Process {
            stdin: child.stdin.take(),
            stderr: child.stderr.take(),
            group: Group::of(&child),
            child,
            body: self.body.take(),
            name: self.name,
            events: self.events,
        };
        tokio::spawn(task(process.supervise(relay, self.timeout)));
        match answered.await {
            Ok(Ok(head)) => Ok((head, output)),
            Ok(Err(bad)) => Err(Failure::Output(bad)),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.argument)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(if self.body.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        signals::reset(&mut command);
        command
    }
}

/// A running program.
struct Process {
    /// The first field, so that the process is killed and reaped before the other fields are
    /// dropped.
    group: Group,
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    body: Option<RequestBody>,
    name: String,
    events: Arc<EventSink>,
}

impl Process {
    async fn supervise(mut self, mut relay: Relay, timeout: Option<Duration>) {
        let deadline = async {
            match timeout {
                Some(timeout) => sleep(timeout).await,
                None => pending().await,
            }
        };
        let (stdin, body) = (self.stdin.take(), self.body.take());
        let done = tokio::select! {
            done = self.pass_output(&mut relay) => Some(done),
            // `feed` never returns, so this branch only runs beside the others
            () = feed(stdin, body) => None,
            () = deadline => None,
        };
        let Some((ending, status)) = done else {
            // answers the waiting request before the pipes are closed
            drop(relay);
            self.group.kill();
            let _ = self.child.wait().await;
            self.group.reaped();
            self.log(|| TIME_IS_UP.to_owned());
            return;
        };
        self.group.reaped();
        self.report(ending, status, relay);
    }

    /// Passes the output on until it ends, and waits until the program has ended as well.
    async fn pass_output(&mut self, relay: &mut Relay) -> (OutputEnd, io::Result<ExitStatus>) {
        // read both pipes at once: a program that fills one of them would wait for ever
        let mut logging = pin!(log_messages(self.stderr.take(), &self.name, &self.events));
        let mut logged = false;
        let ending = {
            let mut relaying = pin!(relay.run());
            loop {
                tokio::select! {
                    ending = relaying.as_mut() => break ending,
                    () = logging.as_mut(), if !logged => logged = true,
                }
            }
        };
        if ending != OutputEnd::Complete {
            self.group.kill();
            return (ending, self.child.wait().await);
        }
        let ended = async {
            // the output has ended, but the last messages may still be in the other pipe
            if !logged {
                logging.await;
            }
            self.child.wait().await
        };
        tokio::select! {
            status = ended => (ending, status),
            // the program has closed its output without an answer
            () = relay.unwanted() => {
                self.group.kill();
                (OutputEnd::Unwanted, self.child.wait().await)
            }
        }
    }

    /// Logs what was wrong, and answers a request that has got no answer.
    fn report(&self, ending: OutputEnd, status: io::Result<ExitStatus>, mut relay: Relay) {
        let failure = match status {
            Ok(status) if status.success() => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match ending {
            OutputEnd::TooLong => {
                self.log(|| format!("stopped: more than {MAX_OUTPUT_BYTES} bytes of output"));
            }
            OutputEnd::Complete => {
                if let Some(failure) = &failure {
                    self.log(|| failure.clone());
                }
                relay.answer_nothing(failure);
            }
            OutputEnd::Unwanted | OutputEnd::Bad => {}
        }
    }

    fn log(&self, text: impl FnOnce() -> String) {
        self.events.line(Level::Warning, HANDLER_LOG, || {
            format!("CGI script {:?}: {}", self.name, text())
        });
    }
}

/// Gives a program the request's body, and then the end of its input; never returns.
async fn feed(stdin: Option<ChildStdin>, body: Option<RequestBody>) {
    if let (Some(mut stdin), Some(mut body)) = (stdin, body) {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if stdin.write_all(&data).await.is_err() {
                break;
            }
        }
    }
    pending::<()>().await;
}

fn why_not_started(error: &io::Error) -> String {
    match error.kind() {
        // the server has found the program itself before, so its interpreter is missing
        io::ErrorKind::NotFound => "its interpreter is missing".to_owned(),
        _ => strerror(error),
    }
}

/// A process group. If it is dropped before its leader was reaped, it kills the group and reaps the
/// leader.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|number| i32::try_from(number).ok());
        Self(number.and_then(Pid::from_raw))
    }

    fn kill(&self) {
        if let Some(leader) = self.0 {
            // this fails if no process is left, and then there is nothing to kill
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }

    /// Notes that the leader was reaped, so that its number may belong to another process.
    fn reaped(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if self.0.is_some() {
            // the runtime has ended, so wait here: a killed process does not take long
            let _ = waitpid(self.0, WaitOptions::empty());
        }
    }
}
