use std::{
    future::poll_fn,
    io::IoSlice,
    sync::atomic::AtomicUsize,
    task::{Wake, Waker},
};

use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    runtime::{Builder, Runtime},
};

use super::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pair(first: &[u8]) -> (Arc<Wire>, WireStream, UnixStream) {
    let (stream, peer) = UnixStream::pair().unwrap();
    let (wire, stream) = Wire::new(first.to_vec(), Stream::Unix(stream), Arc::default());
    (wire, stream, peer)
}

/// Writes and flushes a frame, as `h2` does.
async fn write_frame(stream: &mut WireStream, header: &[u8], payload: &[u8]) -> io::Result<()> {
    let parts = [IoSlice::new(header), IoSlice::new(payload)];
    let count =
        poll_fn(|context| Pin::new(&mut *stream).poll_write_vectored(context, &parts)).await?;
    assert_eq!(count, header.len() + payload.len());
    stream.flush().await
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn frames_are_written_at_once_when_the_connection_was_polled() {
    runtime().block_on(async {
        let (wire, mut stream, mut peer) = pair(b"");
        let mut received = [0; 64];
        // during the handshake, each flush counts
        write_frame(&mut stream, b"set", b"tings").await.unwrap();
        assert_eq!(peer.read(&mut received).await.unwrap(), 8);
        wire.gather();
        write_frame(&mut stream, b"1", b"one").await.unwrap();
        write_frame(&mut stream, b"2", b"two").await.unwrap();
        assert_eq!(peer.try_read(&mut received).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        wire.write_out(&mut Context::from_waker(Waker::noop()));
        assert_eq!(peer.read(&mut received).await.unwrap(), 8);
        assert_eq!(&received[..8], b"1one2two");
    });
}

#[test]
fn a_peer_that_does_not_read_bounds_what_waits() {
    runtime().block_on(async {
        let (wire, mut stream, mut peer) = pair(b"");
        wire.gather();
        let frame = vec![b'x'; 16 * 1024];
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = 0;
        while let Poll::Ready(written) = Pin::new(&mut stream).poll_write(&mut context, &frame) {
            sent += written.unwrap();
            wire.write_out(&mut context);
        }
        let waits = lock(&wire.buffered).outgoing.len();
        assert!((WRITE_MAX..WRITE_MAX + frame.len()).contains(&waits));
        let (mut received, mut space) = (0, vec![0; 64 * 1024]);
        while received < sent {
            let mut buffer = ReadBuf::new(&mut space);
            poll_fn(|context| {
                wire.write_out(context);
                Pin::new(&mut peer).poll_read(context, &mut buffer)
            })
            .await
            .unwrap();
            received += buffer.filled().len();
        }
        wire.write_out(&mut context);
        assert_eq!(received, sent);
        assert_eq!(lock(&wire.buffered).outgoing.capacity(), 0);
    });
}

#[test]
fn an_error_of_writing_calls_and_reaches_the_connection() {
    runtime().block_on(async {
        let (wire, mut stream, peer) = pair(b"");
        wire.gather();
        drop(peer);
        write_frame(&mut stream, b"late", b"").await.unwrap();
        let calls = Arc::new(Calls::default());
        wire.write_out(&mut Context::from_waker(&calls.clone().into()));
        assert_eq!(calls.0.load(Ordering::SeqCst), 1);
        let error = write_frame(&mut stream, b"more", b"").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn reads_return_everything_in_order_whatever_their_sizes() {
    runtime().block_on(async {
        let (wire, mut stream, mut peer) = pair(b"first");
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let writer = {
            let sent = sent.clone();
            tokio::spawn(async move { peer.write_all(&sent).await })
        };
        let (mut received, sizes) = (Vec::new(), [3, 9, 8192, 16_384, 1, 70_000]);
        for size in sizes.into_iter().cycle() {
            let mut buffer = vec![0; size];
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                count => received.extend_from_slice(&buffer[..count]),
            }
            assert!(!wire.is_drained());
        }
        writer.await.unwrap().unwrap();
        assert_eq!(&received[..5], b"first");
        assert_eq!(received[5..], sent);
    });
}

#[test]
fn a_poll_reads_no_more_than_its_share() {
    runtime().block_on(async {
        let (wire, mut stream, mut peer) = pair(b"");
        wire.gather();
        wire.begin_poll();
        let sending = tokio::spawn(async move { peer.write_all(&vec![7; READ_MAX + 1]).await });
        let mut received = vec![0; READ_MAX + 1];
        stream.read_exact(&mut received[..READ_MAX]).await.unwrap();
        assert!(wire.must_read_on());
        let mut rest = ReadBuf::new(&mut received[READ_MAX..]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut rest).is_pending());
        assert!(!wire.is_drained());
        wire.begin_poll();
        stream.read_exact(&mut received[READ_MAX..]).await.unwrap();
        assert!(!wire.must_read_on());
        sending.await.unwrap().unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
    });
}
