//! Passes a program's output on to the client, as fast as the client reads.

use std::{
    io,
    pin::Pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    task::{ready, Context, Poll},
};

use http::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use tokio::{
    io::AsyncReadExt,
    process::ChildStdout,
    sync::{mpsc, oneshot},
};

use super::output::{BadOutput, ScriptHead};
use crate::server::http::http_stream::Busy;

/// A program that writes more than this is out of control.
pub(super) const MAX_OUTPUT_BYTES: u64 = 1 << 30;

/// Output is read and passed on in pieces of this size, two of which may wait for the client.
const PIECE: usize = 16 * 1024;

/// The body of a program's response. Dropping it early kills the program.
#[derive(Debug)]
pub(super) struct Output {
    receiver: mpsc::Receiver<Bytes>,
    complete: Arc<AtomicBool>,
    has_paused: bool,
    _busy: Busy,
}

impl Body for Output {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(piece) => Some(Ok(Frame::data(piece))),
            // hyper sends what it has, which a program that wrote less than it announced loses
            // otherwise, together with its header
            None if !std::mem::replace(&mut self.has_paused, true) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            None if self.complete.load(Ordering::Acquire) => None,
            // fail, so that the client does not take a part for the whole body
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}

/// The header, or why there is none.
pub(super) type Answer = Result<ScriptHead, BadOutput>;

/// How the output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputEnd {
    /// All of it was passed on.
    Complete,
    /// The client has gone, or the body is not wanted.
    Unwanted,
    /// The output was too long.
    TooLong,
    /// The output was not a response; the waiting request has got an error.
    Bad,
}

/// Passes a program's output on.
pub(super) struct Relay {
    stdout: ChildStdout,
    /// Dropped when the output has ended, which ends the body for the client.
    sender: Option<mpsc::Sender<Bytes>>,
    answer: Option<oneshot::Sender<Answer>>,
    complete: Arc<AtomicBool>,
    body_wanted: bool,
}

impl Relay {
    /// Returns the relay, the receiver of the header, and the body.
    pub(super) fn new(
        stdout: ChildStdout,
        body_wanted: bool,
        busy: Busy,
    ) -> (Self, oneshot::Receiver<Answer>, Output) {
        let (sender, receiver) = mpsc::channel(2);
        let (answer, answered) = oneshot::channel();
        let complete = Arc::new(AtomicBool::new(false));
        let output =
            Output { receiver, complete: complete.clone(), has_paused: false, _busy: busy };
        let answer = Some(answer);
        (Self { stdout, sender: Some(sender), answer, complete, body_wanted }, answered, output)
    }

    /// Reads the output to its end.
    pub(super) async fn run(&mut self) -> OutputEnd {
        let mut output = Vec::with_capacity(PIECE);
        let (head, length) = loop {
            match ScriptHead::parse(&output) {
                Ok(Some(whole)) => break whole,
                Ok(None) => {}
                Err(bad) => return self.give_up(bad),
            }
            match self.read(&mut output).await {
                None => return OutputEnd::Unwanted,
                Some(0) if output.is_empty() => return OutputEnd::Complete,
                Some(0) => {
                    // some programs omit the blank line after the header if there is no body
                    output.extend_from_slice(b"\n\n");
                    match ScriptHead::parse(&output) {
                        Ok(Some((head, _))) => break (head, output.len()),
                        Ok(None) => return self.give_up(BadOutput::TooLong),
                        Err(bad) => return self.give_up(bad),
                    }
                }
                Some(_) => {}
            }
        };
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let passed_on = self.body_wanted && !bodiless && head.local_redirect.is_none();
        self.body_wanted = passed_on;
        self.complete.store(!passed_on, Ordering::Release);
        self.answer(Ok(head));
        output.drain(..length);
        self.pass_on(output).await
    }

    async fn pass_on(&mut self, mut piece: Vec<u8>) -> OutputEnd {
        let mut total = 0;
        loop {
            total += piece.len() as u64;
            if total > MAX_OUTPUT_BYTES {
                return OutputEnd::TooLong;
            }
            if let Some(sender) =
                self.sender.as_ref().filter(|_| self.body_wanted && !piece.is_empty())
            {
                if sender.send(piece.into()).await.is_err() {
                    return OutputEnd::Unwanted;
                }
            }
            piece = Vec::with_capacity(PIECE);
            match self.read(&mut piece).await {
                None => return OutputEnd::Unwanted,
                Some(0) => {
                    self.complete.store(true, Ordering::Release);
                    // the program may work on; the client does not wait for that
                    self.sender = None;
                    return OutputEnd::Complete;
                }
                Some(_) => {}
            }
        }
    }

    /// Reads more output. Returns 0 at the end, and `None` if the client has gone.
    async fn read(&mut self, output: &mut Vec<u8>) -> Option<usize> {
        output.reserve(PIECE);
        // the program may finish its work although its body is not needed, as for HEAD and
        // redirects
        let waited_for = self.answer.is_some() || self.body_wanted;
        let sender = self.sender.as_ref().filter(|_| waited_for);
        let unwanted = async {
            match sender {
                Some(sender) => sender.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = self.stdout.read_buf(output) => Some(read.unwrap_or(0)),
            () = unwanted => None,
        }
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // if the receiver is gone, so is the body, and `read` notices that
            let _ = sender.send(answer);
        }
    }

    fn give_up(&mut self, bad: BadOutput) -> OutputEnd {
        self.answer(Err(bad));
        OutputEnd::Bad
    }

    /// Waits until the request that waits for an answer has gone. Never ends if the answer was
    /// given.
    pub(super) async fn unwanted(&mut self) {
        match &mut self.answer {
            Some(answer) => answer.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Answers for a program that wrote nothing, which is an error only if the program failed.
    pub(super) fn answer_nothing(&mut self, failure: Option<String>) {
        if self.answer.is_some() {
            self.complete.store(true, Ordering::Release);
            self.answer(match failure {
                None => Ok(ScriptHead::of_nothing()),
                Some(status) => Err(BadOutput::Nothing(status)),
            });
        }
    }
}
