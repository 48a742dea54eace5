//! Lets a peer finish (RFC 9112 9.6): our direction is closed, and for a while everything from the
//! peer is read and discarded. Closing a socket with unread bytes resets the connection, and the
//! peer might lose our last bytes.

use std::{io, net, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::byte_stream::{ByteStream, ReadinessSource};

/// A browser closes within a round trip. The server cuts peers that take longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A peer that sends more than this is not finishing but goes on sending.
const MAX_BYTES: usize = 4 << 20;

/// Reads until the peer closes, the time is over or the peer has sent too much; then drops the
/// socket.
pub(crate) async fn drain(socket: Arc<dyn ByteStream>) {
    // ignore an error: the connection has ended already
    let _ = timeout(DRAIN_TIME, read_to_end(socket)).await;
}

async fn read_to_end(socket: Arc<dyn ByteStream>) -> io::Result<()> {
    let descriptor = match socket.readiness() {
        ReadinessSource::Descriptor(descriptor) => descriptor.try_clone_to_owned()?,
        // a stream without a descriptor has no unread bytes in the kernel
        ReadinessSource::Stream(_) => return Ok(()),
    };
    drop(socket);
    let stream = net::TcpStream::from(descriptor);
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
