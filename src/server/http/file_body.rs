//! A file as the body of an answer.

use std::{
    fs::File,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes to read at a time.
const CHUNK: usize = 64 * 1024;

/// A number of bytes from the beginning of a file.
pub(super) struct FileBody {
    file: tokio::fs::File,
    left: u64,
}

impl FileBody {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file: tokio::fs::File::from_std(file), left: length }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; length];
        let mut buffer = ReadBuf::new(&mut chunk);
        match Pin::new(&mut self.file).poll_read(context, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {}
        }
        let count = buffer.filled().len();
        if count == 0 {
            // the file has become shorter: fail, so that the answer does not look complete
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        chunk.truncate(count);
        self.left -= count as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
