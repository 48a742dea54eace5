//! Letting a peer finish (RFC 9112 9.6): our direction is closed, the peer's is read and thrown
//! away for a while, so that its unread bytes do not turn our last ones into a reset.

use std::{io, net, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

/// A browser closes within a round trip; whoever takes longer is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than this is not the end of something but something else.
const MAX_BYTES: usize = 4 << 20;

/// Reads until the peer closes, the time is over or too much came; then drops the socket.
pub(super) async fn drain(socket: Arc<OwnedFd>) {
    // what fails here fails after the connection's end
    let _ = timeout(PATIENCE, read_to_end(socket)).await;
}

async fn read_to_end(socket: Arc<OwnedFd>) -> io::Result<()> {
    // a thread of the handler may still hold it for a moment
    let socket = Arc::try_unwrap(socket).or_else(|socket| socket.try_clone())?;
    let stream = net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    let mut buffer = [0_u8; 4096];
    let mut seen = 0;
    while seen < MAX_BYTES {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => seen += count,
        }
    }
    Ok(())
}
