//! Lets a peer finish (RFC 9112 9.6): our direction is closed, and for a while everything from the
//! peer is read and discarded. Closing a socket with unread bytes resets the connection, and the
//! peer might lose our last bytes.

use std::{
    collections::HashMap,
    future::Future,
    io, net,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout};

use super::{
    byte_stream::{ByteStream, ReadinessSource},
    stall::{Stall, Uptake},
};
use crate::{
    locks::lock,
    system::{Native, System},
};

/// A browser closes within a round trip. The server cuts peers that take longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A peer that sends more than this is not finishing but goes on sending.
const MAX_BYTES: usize = 4 << 20;

/// A server that ends waits no longer than this for peers that take nothing: what waits is the
/// system's, which goes on.
const STALL_TIME: Duration = Duration::from_millis(200);

/// How often a server that ends looks at what its peers have taken.
const LOOK_TIME: Duration = Duration::from_millis(1);

/// The peers of a server that are finishing.
#[derive(Debug, Default)]
pub(crate) struct Drains(Mutex<Sockets>);

#[derive(Debug, Default)]
struct Sockets {
    next: u64,
    open: HashMap<u64, Arc<TcpStream>>,
}

/// A socket that is drained until this is dropped.
struct Drain {
    drains: Arc<Drains>,
    id: u64,
    socket: Arc<TcpStream>,
}

impl Drop for Drain {
    fn drop(&mut self) {
        lock(&self.drains.0).open.remove(&self.id);
    }
}

impl Drains {
    /// Takes over a socket of which our direction was ended. The future reads until the peer closes,
    /// the time is over or the peer has sent too much; then it drops the socket. A task of a runtime
    /// must call this.
    pub(crate) fn drain(
        self: &Arc<Self>,
        socket: Arc<dyn ByteStream>,
    ) -> impl Future<Output = ()> + Send + 'static {
        // ignore an error: the connection has ended already
        let drain = self.add(socket).ok().flatten();
        async move {
            if let Some(drain) = drain {
                let _ = timeout(DRAIN_TIME, read_to_end(&drain.socket)).await;
            }
        }
    }

    fn add(self: &Arc<Self>, socket: Arc<dyn ByteStream>) -> io::Result<Option<Drain>> {
        let descriptor = match socket.readiness() {
            ReadinessSource::Descriptor(descriptor) => descriptor.try_clone_to_owned()?,
            // a stream without a descriptor has no unread bytes in the kernel
            ReadinessSource::Stream(_) => return Ok(None),
        };
        // it has buffers that are not needed any more
        drop(socket);
        self.add_descriptor(descriptor).map(Some)
    }

    fn add_descriptor(self: &Arc<Self>, descriptor: OwnedFd) -> io::Result<Drain> {
        let stream = net::TcpStream::from(descriptor);
        stream.set_nonblocking(true)?;
        let socket = Arc::new(TcpStream::from_std(stream)?);
        let mut sockets = lock(&self.0);
        let id = sockets.next;
        sockets.next += 1;
        sockets.open.insert(id, socket.clone());
        Ok(Drain { drains: self.clone(), id, socket })
    }

    /// Waits until the peers' systems have taken everything that was sent, for as long as they take
    /// something, but no longer than a drain lasts. Afterwards the sockets can be closed: bytes of
    /// the peer that are unread then, or come later, discard nothing of ours.
    pub(crate) fn wait_delivered(&self) {
        let begin = Instant::now();
        let mut stall = Stall::begin(begin);
        loop {
            let untaken = self.untaken();
            let now = Instant::now();
            let seen = Uptake { waits: untaken > 0, mark: untaken as u64 };
            let lasts = stall.look(seen, now);
            if untaken == 0 || lasts >= STALL_TIME || now - begin >= DRAIN_TIME {
                return;
            }
            thread::sleep(LOOK_TIME);
        }
    }

    /// How many bytes the peers' systems have not taken.
    fn untaken(&self) -> usize {
        let sockets = lock(&self.0);
        // a socket of which nothing is known counts as one that waits
        let untaken = |socket: &Arc<TcpStream>| Native::untaken(socket.as_fd()).unwrap_or(1);
        sockets.open.values().map(untaken).sum()
    }
}

async fn read_to_end(socket: &TcpStream) -> io::Result<()> {
    let mut buffer = [0_u8; 4096];
    let mut seen = 0;
    while seen < MAX_BYTES {
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => seen += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use tokio::runtime::Builder;

    use super::*;

    /// A drained socket whose peer has not read what was sent, and the peer.
    fn unread(bytes: usize) -> (Arc<Drains>, Drain, net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let piece = vec![1; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            match socket.write(&piece[..left.min(piece.len())]) {
                Ok(count) => left -= count,
                Err(_) => break,
            }
        }
        socket.shutdown(net::Shutdown::Write).unwrap();
        let drains = Arc::<Drains>::default();
        let drain = drains.add_descriptor(socket.into()).unwrap();
        (drains, drain, peer)
    }

    #[test]
    fn waits_while_a_peer_reads() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        // more than the systems hold
        let (drains, drain, mut peer) = unread(usize::MAX);
        assert!(drains.untaken() > 0);
        let reading = thread::spawn(move || peer.read_to_end(&mut Vec::new()).unwrap());
        drains.wait_delivered();
        assert_eq!(drains.untaken(), 0);
        drop(drain);
        assert!(reading.join().unwrap() > 0);
    }

    #[test]
    fn does_not_wait_for_a_peer_that_takes_nothing() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let (drains, drain, _peer) = unread(usize::MAX);
        drains.wait_delivered();
        assert!(drains.untaken() > 0);
        drop(drain);
        assert_eq!(drains.untaken(), 0);
    }
}
