//! Letting a peer finish (RFC 9112 9.6): our direction is closed, the peer's is read and thrown
//! away for a while, so that its unread bytes do not turn our last ones into a reset.

use std::{io, net, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::socket::Socket;

/// A browser closes within a round trip; whoever takes longer is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than this is not the end of something but something else.
const MAX_BYTES: usize = 4 << 20;

/// Reads until the peer closes, the time is over or too much came; then drops the socket.
pub(crate) async fn drain(socket: Arc<Socket>) {
    // what fails here fails after the connection's end
    let _ = timeout(PATIENCE, read_to_end(socket)).await;
}

async fn read_to_end(socket: Arc<Socket>) -> io::Result<()> {
    // a thread of the handler may still hold it for a moment
    let socket = match Arc::try_unwrap(socket) {
        Ok(socket) => socket.into_descriptor(),
        Err(socket) => socket.duplicate()?,
    };
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
