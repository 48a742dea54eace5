//! Copies the bytes of a WebSocket between its stream and its handler's socket.
//!
//! It buffers nothing: a stream's window opens when the handler's socket accepts bytes, and the
//! handler's socket is read only when the peer's window has room.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Duration};

use h2::{server::SendResponse, Reason, RecvStream, SendStream};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{
        unix::{OwnedReadHalf, OwnedWriteHalf},
        UnixStream,
    },
    sync::Notify,
    time::{sleep_until, Instant},
};

use super::{
    page::room,
    piece::{Piece, Waiting},
};
use crate::connection::Transport;

/// The most bytes to copy at a time, which is the default limit of a DATA frame.
const PIECE: usize = 16 * 1024;

/// Time for the peer to end its direction when we have ended ours.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time for the peer to read the rest after the handler has ended, if no option sets it.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// An open WebSocket.
pub(super) struct Tunnel {
    pub(super) transport: Arc<Transport>,
    pub(super) socket: UnixStream,
    pub(super) respond: SendResponse<Piece>,
    pub(super) send: SendStream<Piece>,
    pub(super) receive: RecvStream,
    /// The handler has reset the connection, or ended.
    pub(super) changed: Arc<Notify>,
    /// The time for the peer to read the rest.
    pub(super) patience: Option<Duration>,
}

/// Why nothing more is sent to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Close frames were exchanged in both directions.
    Clean,
    /// The handler has ended its direction, and may go on receiving.
    HalfClosed,
    /// The handler has reset the connection.
    Reset,
    /// The handler has ended without a closing handshake, or the server has cut the connection.
    Abrupt,
    /// The peer has gone.
    Gone,
}

impl Tunnel {
    /// Copies bytes until both directions have ended. If the stream does not end in order, it is
    /// dropped before its end, and `h2` resets it (`CANCEL`): after the answer, and before data
    /// that waits for the window.
    pub(super) async fn run(self) {
        let Self { transport, socket, mut respond, send, receive, changed, patience } = self;
        let (reader, writer) = socket.into_split();
        let mut to_peer = pin!(to_peer(send, reader, &transport));
        let mut to_handler = pin!(to_handler(receive, writer));
        let (mut sends, mut receives) = (true, true);
        let mut deadline: Option<Instant> = None;
        while sends || receives {
            tokio::select! {
                end = to_peer.as_mut(), if sends => match end {
                    End::Clean => {
                        sends = false;
                        deadline = Some(Instant::now() + PATIENCE);
                    }
                    End::HalfClosed => {
                        sends = false;
                        deadline = transport.closing().is_gone().then(|| Instant::now() + PATIENCE);
                    }
                    End::Reset | End::Abrupt | End::Gone => return,
                },
                lives = to_handler.as_mut(), if receives => {
                    receives = false;
                    if !lives {
                        return;
                    }
                }
                () = changed.notified() => {
                    let closing = transport.closing();
                    if closing.is_reset() && closing.is_gone() {
                        if !sends {
                            respond.send_reset(Reason::CANCEL);
                        }
                        return;
                    }
                    if closing.is_gone() && deadline.is_none() {
                        let time = if sends { patience.unwrap_or(LONG_PATIENCE) } else { PATIENCE };
                        deadline = Some(Instant::now() + time);
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    if sends {
                        respond.send_reset(Reason::CANCEL);
                    }
                    return;
                }
            }
        }
    }
}

/// Copies what the handler sends.
async fn to_peer(
    mut stream: SendStream<Piece>,
    mut reader: OwnedReadHalf,
    transport: &Transport,
) -> End {
    let waiting = Arc::new(Waiting::default());
    loop {
        let readable = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(false);
            }
            reader.as_ref().poll_read_ready(context).map(|_| true)
        });
        if !readable.await {
            return End::Gone;
        }
        // ask for room only now: an idle stream must not hold a part of the connection's window
        // that others need
        let Ok(room) = room(&mut stream, PIECE).await else { return End::Gone };
        let read = read_piece(&mut reader, room).await;
        // an error is the end as well
        let piece = read.unwrap_or_default();
        if piece.is_empty() {
            stream.reserve_capacity(0);
            let end = how_ended(transport);
            if matches!(end, End::Clean | End::HalfClosed)
                && stream.send_data(Bytes::new().into(), true).is_err()
            {
                return End::Gone;
            }
            if end == End::Abrupt {
                // a reset now would overtake the data
                waiting.all_taken().await;
            }
            return end;
        }
        if stream.send_data(waiting.piece(piece), false).is_err() {
            return End::Gone;
        }
        stream.reserve_capacity(0);
    }
}

/// Reads once, at most `most` bytes; returns nothing at the end.
async fn read_piece(reader: &mut OwnedReadHalf, most: usize) -> io::Result<Bytes> {
    poll_fn(|context| {
        let mut buffer = [0; PIECE];
        let mut piece = ReadBuf::new(&mut buffer[..most.min(PIECE)]);
        let polled = std::pin::Pin::new(&mut *reader).poll_read(context, &mut piece);
        polled.map_ok(|()| Bytes::copy_from_slice(piece.filled()))
    })
    .await
}

/// What the end of the handler's bytes means.
fn how_ended(transport: &Transport) -> End {
    let closing = transport.closing();
    if closing.is_reset() {
        End::Reset
    } else if closing.is_cut() {
        End::Abrupt
    } else if !closing.is_gone() {
        End::HalfClosed
    } else if closing.is_clean() {
        End::Clean
    } else {
        End::Abrupt
    }
}

/// Copies what the peer sends, and discards it after the handler has ended. Returns whether the
/// stream still exists, because the peer has ended only its direction.
async fn to_handler(mut stream: RecvStream, mut writer: OwnedWriteHalf) -> bool {
    let mut is_taken = true;
    loop {
        match poll_fn(|context| stream.poll_data(context)).await {
            Some(Ok(data)) => {
                if is_taken {
                    is_taken = writer.write_all(&data).await.is_ok();
                }
                // this fails if the stream has ended, which the next read will show
                let _ = stream.flow_control().release_capacity(data.len());
            }
            Some(Err(_)) => return false,
            None => {
                // if the handler has ended, nobody needs the end
                let _ = writer.shutdown().await;
                return true;
            }
        }
    }
}
