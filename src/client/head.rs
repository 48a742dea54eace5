//! The stream from which tungstenite reads an answer. It shows only the head of the final answer,
//! so that frames which arrive with it are left for our own reader.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{ready, Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;

/// The most bytes of the heads of an answer, including interim answers. Servers that send large
/// cookies stay far below.
const MAX_HEAD: usize = 64 * 1024;

const CHUNK: usize = 4096;

/// How each answer begins.
const VERSION: &[u8] = b"HTTP/";

/// The direction of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadDirection {
    /// To the server or the proxy.
    Sent,
    /// From the server or the proxy.
    Received,
}

/// Is called with every head that is sent or received, including those of proxies and interim
/// answers.
#[derive(Clone)]
pub struct Trace(Arc<Show>);

type Show = dyn Fn(HeadDirection, &[u8]) + Send + Sync;

impl Trace {
    /// Calls `show` with the bytes of each head.
    pub fn new(show: impl Fn(HeadDirection, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    pub(super) fn show(&self, direction: HeadDirection, head: &[u8]) {
        (self.0)(direction, head);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Trace")
    }
}

/// Reads a head, passes it on when it is complete, and then ends. It skips interim answers (RFC
/// 9110 15.2) before the final one.
#[derive(Debug)]
pub(super) struct HeadTap<'a, S> {
    stream: S,
    trace: Option<&'a Trace>,
    /// Written bytes that have not been flushed.
    written: Vec<u8>,
    /// Bytes of interim answers.
    interim: usize,
    buffer: Vec<u8>,
    /// Where the head ends, once its end has been received.
    end: Option<usize>,
    /// Where the current line begins.
    line: usize,
    /// Whether a non-empty line has been received: empty lines before it are skipped.
    begun: bool,
    /// Bytes of the head that have been passed on.
    given: usize,
}

impl<'a, S> HeadTap<'a, S> {
    pub(super) fn new(stream: S, trace: Option<&'a Trace>) -> Self {
        Self {
            stream,
            trace,
            written: Vec::new(),
            interim: 0,
            buffer: Vec::new(),
            end: None,
            line: 0,
            begun: false,
            given: 0,
        }
    }

    /// The head, if it is complete, and the bytes after it.
    pub(super) fn into_parts(mut self) -> (S, Option<Vec<u8>>, Vec<u8>) {
        match self.end {
            None => (self.stream, None, self.buffer),
            Some(end) => {
                let rest = self.buffer.split_off(end);
                (self.stream, Some(self.buffer), rest)
            }
        }
    }

    /// The head, if all of it has come.
    pub(super) fn head(&self) -> Option<&[u8]> {
        self.end.map(|end| &self.buffer[..end])
    }

    /// All received bytes, for an answer that is not a head.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Looks for the end of the final head from the given position.
    fn look(&mut self, mut from: usize) {
        while let Some(end) = self.end_of_head(from) {
            self.show(HeadDirection::Received, &self.buffer[..end]);
            if !is_interim(&self.buffer[..end]) {
                self.end = Some(end);
                return;
            }
            self.interim += end;
            self.buffer.drain(..end);
            (from, self.line, self.begun) = (0, 0, false);
        }
    }

    /// Looks for the empty line that ends a head.
    fn end_of_head(&mut self, mut from: usize) -> Option<usize> {
        while let Some(length) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
            let next = from + length + 1;
            let is_empty = matches!(&self.buffer[self.line..next], b"\n" | b"\r\n");
            (from, self.line) = (next, next);
            if is_empty && self.begun {
                return Some(next);
            }
            self.begun |= !is_empty;
        }
        None
    }

    fn show(&self, direction: HeadDirection, bytes: &[u8]) {
        if let Some(trace) = self.trace {
            trace.show(direction, bytes);
        }
    }
}

/// Whether these bytes are not the beginning of an answer in HTTP (RFC 9112 4).
pub(super) fn is_not_http(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    let length = line.len().min(VERSION.len());
    line[..length] != VERSION[..length]
}

/// Whether another head follows (RFC 9110 15.2). After 101, frames follow.
fn is_interim(head: &[u8]) -> bool {
    Answer::parse(head)
        .is_some_and(|answer| matches!(answer.status, 100..=199 if answer.status != 101))
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTap<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        loop {
            if let Some(end) = tap.end {
                // pass on as much as possible at once: tungstenite takes many small pieces for an
                // attack
                let count = (end - tap.given).min(target.remaining());
                target.put_slice(&tap.buffer[tap.given..tap.given + count]);
                tap.given += count;
                return Poll::Ready(Ok(()));
            }
            if tap.interim + tap.buffer.len() >= MAX_HEAD {
                let text = format!("the head of the answer is longer than {MAX_HEAD} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut tap.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // the head is too long or has no end, or the bytes are not a head
                if !tap.buffer.is_empty() {
                    tap.show(HeadDirection::Received, &tap.buffer);
                }
                return Poll::Ready(Ok(()));
            }
            let before = tap.buffer.len();
            tap.buffer.extend_from_slice(read.filled());
            tap.look(before);
            let is_enough = tap.buffer.len() >= VERSION.len();
            if tap.end.is_none() && is_enough && is_not_http(&tap.buffer) {
                // the same as at the end: no head will come, however long one waits
                tap.show(HeadDirection::Received, &tap.buffer);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTap<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        match ready!(Pin::new(&mut tap.stream).poll_write(context, bytes)) {
            // tungstenite asserts that this does not happen
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                if tap.trace.is_some() {
                    tap.written.extend_from_slice(&bytes[..count]);
                }
                Poll::Ready(Ok(count))
            }
            error => Poll::Ready(error),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        if !tap.written.is_empty() {
            let written = std::mem::take(&mut tap.written);
            tap.show(HeadDirection::Sent, &written);
        }
        Pin::new(&mut tap.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{duplex, AsyncReadExt, AsyncWriteExt},
        runtime::Builder,
    };

    use super::*;

    /// What is handed on, and what is left, of bytes that come in pieces of this size.
    fn tapped(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Vec<u8>>, Vec<u8>) {
        Builder::new_current_thread().build().expect("runtime").block_on(async {
            let (mut server, client) = duplex(piece);
            let mut tap = HeadTap::new(client, None);
            let mut given = Vec::new();
            let send = async {
                // ends early if the tap stops reading, as it should
                let _ = server.write_all(bytes).await;
                drop(server);
            };
            let receive = async {
                tap.read_to_end(&mut given).await.expect("no error");
                tap.into_parts()
            };
            let ((_, head, rest), ()) = tokio::join!(
                async {
                    let (mut stream, head, mut rest) = receive.await;
                    stream.read_to_end(&mut rest).await.expect("no error");
                    (stream, head, rest)
                },
                send
            );
            (given, head, rest)
        })
    }

    #[test]
    fn hands_on_the_head_and_keeps_the_rest_whatever_the_pieces() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n";
        let whole = [&head[..], b"\x81\x02hi"].concat();
        for piece in 1..=whole.len() {
            let (given, kept, rest) = tapped(&whole, piece);
            assert_eq!(given, head, "pieces of {piece}");
            assert_eq!(kept.as_deref(), Some(&head[..]));
            assert_eq!(rest, b"\x81\x02hi");
        }
    }

    #[test]
    fn passes_interim_answers_over_whatever_the_pieces() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n";
        let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n";
        let whole =
            [b"HTTP/1.1 100 Continue\r\n\r\n", &early[..], b"HTTP/1.1 199\n\n", head, b"\x81\x00"];
        let whole = whole.concat();
        for piece in [1, 2, 7, 24, 25, 26, whole.len()] {
            let (given, kept, rest) = tapped(&whole, piece);
            assert_eq!(given, head, "pieces of {piece}");
            assert_eq!(kept.as_deref(), Some(&head[..]));
            assert_eq!(rest, b"\x81\x00");
        }
    }

    #[test]
    fn interim_answers_without_end_are_refused() {
        let outcome = Builder::new_current_thread().build().expect("runtime").block_on(async {
            let bytes = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n".repeat(MAX_HEAD / 16);
            let mut tap = HeadTap::new(&bytes[..], None);
            tap.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(outcome.expect_err("too many").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn every_head_is_shown() {
        let shown = Arc::new(std::sync::Mutex::new(Vec::new()));
        let show = shown.clone();
        let trace = Trace::new(move |direction, head| {
            show.lock()
                .expect("whole")
                .push((direction, String::from_utf8_lossy(head).into_owned()));
        });
        Builder::new_current_thread().build().expect("runtime").block_on(async {
            let (mut server, client) = duplex(1000);
            let mut tap = HeadTap::new(client, Some(&trace));
            tap.write_all(b"GET / ").await.expect("written");
            tap.write_all(b"HTTP/1.1\r\n\r\n").await.expect("written");
            tap.flush().await.expect("flushed");
            server
                .write_all(b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 101 y\r\n\r\nz")
                .await
                .expect("written");
            tap.read_to_end(&mut Vec::new()).await.expect("read");
        });
        let shown = shown.lock().expect("whole");
        let shown: Vec<_> =
            shown.iter().map(|(direction, head)| (*direction, head.trim_end())).collect();
        assert_eq!(
            shown[..],
            [
                (HeadDirection::Sent, "GET / HTTP/1.1"),
                (HeadDirection::Received, "HTTP/1.1 100 x"),
                (HeadDirection::Received, "HTTP/1.1 101 y"),
            ]
        );
    }

    #[test]
    fn bare_line_feeds_and_empty_lines_before_it_are_those_of_a_head() {
        let (given, _, rest) = tapped(b"\r\n\nHTTP/1.1 200 OK\nA: b\n\n\n", 3);
        assert_eq!(given, b"\r\n\nHTTP/1.1 200 OK\nA: b\n\n");
        assert_eq!(rest, b"\n");
    }

    #[test]
    fn a_head_that_ends_early_is_none() {
        let (given, head, rest) = tapped(b"HTTP/1.1 101\r\nA", 64);
        assert_eq!((given.len(), head), (0, None));
        assert_eq!(rest, b"HTTP/1.1 101\r\nA");
    }

    #[test]
    fn what_is_no_http_ends_without_waiting_for_more() {
        let given = Builder::new_current_thread().build().expect("runtime").block_on(async {
            let (mut server, client) = duplex(64);
            server.write_all(b"SSH-2.0-x\r\n").await.expect("written");
            let mut tap = HeadTap::new(client, None);
            tap.read_to_end(&mut Vec::new()).await.expect("no error");
            tap.bytes().to_vec()
        });
        assert_eq!(given, b"SSH-2.0-x\r\n");
        for (bytes, is_not) in [
            (&b""[..], false),
            (b"\r\nHTTP/1.1 200", false),
            (b"HT", false),
            (b"HX", true),
            (b"\x15\x03", true),
        ] {
            assert_eq!(is_not_http(bytes), is_not, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let outcome = Builder::new_current_thread().build().expect("runtime").block_on(async {
            let bytes = [VERSION, &vec![b'a'; MAX_HEAD + CHUNK]].concat();
            let mut tap = HeadTap::new(&bytes[..], None);
            tap.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(outcome.expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }
}
