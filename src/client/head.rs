//! The stream that tungstenite reads an answer from: it gets the head of the final answer and nothing
//! behind it, so that a frame that came along is left for our own reader.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{ready, Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;

/// Bytes of the heads of an answer at most, interim ones with them; servers that send large cookies
/// stay far below.
const MAX_HEAD: usize = 64 * 1024;

const CHUNK: usize = 4096;

/// Which way a head goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server or the proxy.
    Sent,
    /// From it.
    Received,
}

/// Gets to see every head that is sent or received, also those of proxies and interim answers.
#[derive(Clone)]
pub struct Trace(Arc<Show>);

type Show = dyn Fn(Way, &[u8]) + Send + Sync;

impl Trace {
    /// Calls `show` with each head as its bytes are.
    pub fn new(show: impl Fn(Way, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Trace")
    }
}

/// Reads a head, hands it on when it is whole, and then ends. Interim answers (RFC 9110 15.2), which
/// may come before it, are passed over.
#[derive(Debug)]
pub(super) struct HeadTap<'a, S> {
    stream: S,
    trace: Option<&'a Trace>,
    /// What was written, until it is flushed.
    written: Vec<u8>,
    /// Bytes of interim answers.
    interim: usize,
    buffer: Vec<u8>,
    /// Where the head ends, once that has come.
    end: Option<usize>,
    /// Where the line under way begins.
    line: usize,
    /// Whether a line with something in it has come: empty ones before are passed over.
    begun: bool,
    /// Bytes of the head that have been handed on.
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

    /// The head, if all of it has come, and what came behind it.
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

    /// What came, for an answer that is no head.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Looks for the end of the final head, behind what was looked at before.
    fn look(&mut self, mut from: usize) {
        while let Some(end) = self.end_of_head(from) {
            self.show(Way::Received, &self.buffer[..end]);
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

    fn show(&self, way: Way, bytes: &[u8]) {
        if let Some(Trace(show)) = self.trace {
            show(way, bytes);
        }
    }
}

/// Whether another head follows (RFC 9110 15.2): behind 101 there are frames.
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
                // all at once: tungstenite takes many small pieces for an attack
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
                // a head without end, or no head at all
                if !tap.buffer.is_empty() {
                    tap.show(Way::Received, &tap.buffer);
                }
                return Poll::Ready(Ok(()));
            }
            let before = tap.buffer.len();
            tap.buffer.extend_from_slice(read.filled());
            tap.look(before);
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
            // which tungstenite asserts not to happen
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
            tap.show(Way::Sent, &written);
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
        let trace = Trace::new(move |way, head| {
            show.lock().expect("whole").push((way, String::from_utf8_lossy(head).into_owned()));
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
        let shown: Vec<_> = shown.iter().map(|(way, head)| (*way, head.trim_end())).collect();
        assert_eq!(
            shown[..],
            [
                (Way::Sent, "GET / HTTP/1.1"),
                (Way::Received, "HTTP/1.1 100 x"),
                (Way::Received, "HTTP/1.1 101 y"),
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
    fn a_head_without_end_is_refused() {
        let outcome = Builder::new_current_thread().build().expect("runtime").block_on(async {
            let bytes = vec![b'a'; MAX_HEAD + CHUNK];
            let mut tap = HeadTap::new(&bytes[..], None);
            tap.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(outcome.expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }
}
