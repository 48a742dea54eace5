//! Copies the bytes of a WebSocket between its stream and the program's socket.
//!
//! It buffers nothing: the stream's window opens when the program's socket accepts bytes, and that
//! socket is read only when the server's window lets bytes pass (RFC 9113 5.2.1).

use std::{
    future::poll_fn, io, net::SocketAddr, os::fd::OwnedFd, pin::pin, sync::Arc, time::Duration,
};

use h2::{client::Connection, Reason, RecvStream, SendStream};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        unix::{OwnedReadHalf, OwnedWriteHalf},
        UnixStream,
    },
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    background::{self, OpenConnection},
    socket::{EndSignal, Http2Socket},
};
use crate::{
    connection::{ByteStream, PlainSocket},
    runtime::task,
};

/// The most bytes to copy at a time, which is the default limit of a DATA frame.
const PIECE: usize = 16 * 1024;

/// The time for the server to end its direction after the program has ended.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for the server to read what the program had sent when it ended, and the last frames.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a connection until this is dropped and everything was sent.
#[derive(Debug)]
pub(in crate::client) struct Driver {
    _alive: oneshot::Sender<()>,
}

impl Driver {
    /// Runs a connection in the background.
    pub(in crate::client) fn start<S>(connection: Connection<S, Bytes>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (alive, dropped) = oneshot::channel();
        let open = OpenConnection::new();
        tokio::spawn(task(async move {
            let _open = open;
            let mut connection = pin!(connection);
            tokio::select! {
                // the streams have the error
                _ = connection.as_mut() => return,
                _ = dropped => {}
            }
            // it sends GOAWAY when there are no streams; a server that does not read cannot hold it
            let _ = timeout(WINDOW_TIMEOUT, connection).await;
        }));
        Self { _alive: alive }
    }
}

/// An open stream and its connection.
#[derive(Debug)]
pub(in crate::client) struct StreamBridge {
    pub(in crate::client) send: SendStream<Bytes>,
    pub(in crate::client) receive: RecvStream,
    pub(in crate::client) driver: Driver,
}

impl StreamBridge {
    /// Copies bytes in the background; returns the program's end.
    pub(in crate::client) fn start(
        self,
        is_tls: bool,
        peer: Option<SocketAddr>,
    ) -> io::Result<impl ByteStream> {
        let (own, programs) = UnixStream::pair()?;
        let socket = PlainSocket::new(OwnedFd::from(programs.into_std()?), peer);
        let ending = Arc::new(EndSignal::default());
        background::note_socket(&ending);
        tokio::spawn(task(self.run(own, ending.clone())));
        Ok(Http2Socket::new(socket, is_tls, ending))
    }

    /// Copies bytes until both directions have ended. If only one has, dropping the stream resets
    /// it with `CANCEL`.
    async fn run(self, socket: UnixStream, ending: Arc<EndSignal>) {
        let Self { mut send, receive, driver } = self;
        let (reader, writer) = socket.into_split();
        let mut receiving = pin!(to_program(receive, writer));
        let mut is_received = false;
        let sent = {
            let mut sending = pin!(to_server(&mut send, reader, &ending));
            let mut overdue = pin!(async {
                ending.ended().await;
                // what was sent waits for the server's window
                sleep(WINDOW_TIMEOUT).await;
            });
            loop {
                tokio::select! {
                    sent = sending.as_mut() => break sent,
                    () = overdue.as_mut() => break Sent::Overdue,
                    is_open = receiving.as_mut(), if !is_received => {
                        is_received = true;
                        if !is_open {
                            break Sent::StreamEnded;
                        }
                    }
                }
            }
        };
        if ending.is_reset() || sent == Sent::Overdue {
            send.send_reset(Reason::CANCEL);
            return;
        }
        if sent == Sent::All {
            // this fails if the stream has ended, and then there is nothing left to end
            let _ = send.send_data(Bytes::new(), true);
        }
        if !is_received {
            tokio::select! {
                _ = receiving => {}
                () = async { ending.ended().await; sleep(PEER_TIMEOUT).await } => {}
            }
        }
        drop(driver);
    }
}

/// Why nothing more is sent to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The program has ended its direction, and everything was sent.
    All,
    /// The server has reset the stream, or the connection has ended.
    StreamEnded,
    /// The program has ended, and the server does not read the rest.
    Overdue,
}

/// Copies what the program sends.
async fn to_server(
    stream: &mut SendStream<Bytes>,
    mut reader: OwnedReadHalf,
    ending: &EndSignal,
) -> Sent {
    let mut buffer = vec![0; PIECE];
    loop {
        let is_readable = tokio::select! {
            readable = reader.readable() => readable.is_ok(),
            () = ending.process_exit() => {
                // what was sent can still be read, and then comes the end
                let _ = rustix::net::shutdown(reader.as_ref(), rustix::net::Shutdown::Read);
                continue;
            }
            _ = poll_fn(|context| stream.poll_reset(context)) => false,
        };
        if !is_readable {
            return Sent::StreamEnded;
        }
        // ask for room only now: an idle stream needs none
        stream.reserve_capacity(PIECE);
        let capacity = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(capacity)) => capacity.min(PIECE),
            _ => return Sent::StreamEnded,
        };
        // an error is the end as well
        let count = reader.read(&mut buffer[..capacity]).await.unwrap_or_default();
        if count == 0 {
            return Sent::All;
        }
        if stream.send_data(Bytes::copy_from_slice(&buffer[..count]), false).is_err() {
            return Sent::StreamEnded;
        }
    }
}

/// Copies what the server sends, and discards it after the program has ended. Returns whether the
/// stream still exists, because the server has ended only its direction.
async fn to_program(mut stream: RecvStream, mut writer: OwnedWriteHalf) -> bool {
    let mut is_taken = true;
    loop {
        match stream.data().await {
            Some(Ok(data)) => {
                if is_taken {
                    is_taken = writer.write_all(&data).await.is_ok();
                }
                // this fails if the stream has ended, which the next read will show
                let _ = stream.flow_control().release_capacity(data.len());
            }
            Some(Err(_)) => return false,
            None => {
                // if this fails, the program has ended, and needs no end of the stream
                let _ = writer.shutdown().await;
                return true;
            }
        }
    }
}
