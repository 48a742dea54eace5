use std::{io::Read, os::unix::net::UnixStream};

use super::*;
use crate::connection::PlainSocket;

const SERVER_CLOSE: &[u8] = b"\x88\x02\x03\xe9";

#[test]
fn behind_the_servers_close_frame_goes_no_frame_and_a_message_is_told() {
    let (ours, mut peers) = UnixStream::pair().unwrap();
    let mut send_half = SendHalf::new(Arc::new(PlainSocket::new(ours.into(), None)));
    assert!(send_half.hold(b"\x81\x01", b"a"));
    send_half.send_server_close(SERVER_CLOSE);

    // as a caller that had found no close frame before and then waited for its turn
    assert!(!send_half.hold(b"\x81\x01", b"b"));
    let error = send_half.send_frame(b"\x81\x01", b"b", Wait::Never).unwrap_err();
    assert!(error.get_ref().unwrap().is::<AfterServerClose>());
    send_half.send_frame(b"\x8a\x00", b"", Wait::Never).unwrap();
    send_half.append(b"\x81\x01c", None);
    send_half.end(Wait::Never).unwrap();

    let mut sent = Vec::new();
    peers.read_to_end(&mut sent).unwrap();
    assert_eq!(sent, [b"\x81\x01a", SERVER_CLOSE].concat());
}
