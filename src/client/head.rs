//! The stream that tungstenite reads an answer from: it gets the head and nothing behind it, so that
//! a frame that came along is left for our own reader.

use std::{
    io,
    pin::Pin,
    task::{ready, Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of an answer's head at most; servers that send large cookies stay far below.
const MAX_HEAD: usize = 64 * 1024;

const CHUNK: usize = 4096;

/// Reads a head, hands it on when it is whole, and then ends.
#[derive(Debug)]
pub(super) struct HeadTap<S> {
    stream: S,
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

impl<S> HeadTap<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), end: None, line: 0, begun: false, given: 0 }
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

    /// What came, for an answer that is no head.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Looks for the empty line that ends the head, behind what was looked at before.
    fn look(&mut self, mut from: usize) {
        while let Some(length) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
            let next = from + length + 1;
            let is_empty = matches!(&self.buffer[self.line..next], b"\n" | b"\r\n");
            (from, self.line) = (next, next);
            if is_empty && self.begun {
                self.end = Some(next);
                return;
            }
            self.begun |= !is_empty;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTap<S> {
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
            if tap.buffer.len() >= MAX_HEAD {
                let text = format!("the head of the answer is longer than {MAX_HEAD} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut tap.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let before = tap.buffer.len();
            tap.buffer.extend_from_slice(read.filled());
            tap.look(before);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)) {
            // which tungstenite asserts not to happen
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
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
            let mut tap = HeadTap::new(client);
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
            let mut tap = HeadTap::new(&bytes[..]);
            tap.read_to_end(&mut Vec::new()).await
        });
        assert_eq!(outcome.expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }
}
