//! The load generator against servers that do it right in unusual ways, and against servers that get
//! it wrong: it must tell the one from the other.
#![allow(clippy::unwrap_used)]

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
};

use serde_json::Value;

/// What a server does with the payload of its `n`th message: a list of pieces
/// to write.
type Answer = fn(n: u64, payload: Vec<u8>) -> Vec<Vec<u8>>;

struct Server {
    port: u16,
    messages: Arc<AtomicU64>,
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=0xFFFF => {
            out.push(126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// Serves with blocking threads until the test process ends.
fn serve(answer: Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), messages: Arc::default() };
    let messages = server.messages.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let messages = messages.clone();
            std::thread::spawn(move || {
                let _ = connection(stream.unwrap(), answer, &messages);
            });
        }
    });
    server
}

fn connection(mut stream: TcpStream, answer: Answer, messages: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let mut sha = sha1_smol::Sha1::new();
    sha.update(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let accept = base64(&sha.digest().bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let mut n = 0;
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start)?;
        let len = match start[1] & 0x7F {
            126 => {
                let mut len = [0; 2];
                stream.read_exact(&mut len)?;
                u16::from_be_bytes(len) as usize
            }
            127 => {
                let mut len = [0; 8];
                stream.read_exact(&mut len)?;
                u64::from_be_bytes(len) as usize
            }
            len => len as usize,
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask)?;
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload)?;
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[i % 4];
        }
        match start[0] & 0x0F {
            8 => return stream.write_all(&frame(0x88, &payload)),
            10 => assert_eq!(payload, b"are you there"),
            _ => {
                n += 1;
                messages.fetch_add(1, Ordering::Relaxed);
                let pieces = answer(n, payload);
                if pieces.is_empty() && n == 50 {
                    return Ok(());
                }
                for piece in pieces {
                    stream.write_all(&piece)?;
                }
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = String::new();
    for byte in bytes {
        write!(bits, "{byte:08b}").unwrap();
    }
    while bits.len() % 6 != 0 {
        bits.push('0');
    }
    let digits = bits.as_bytes().chunks(6).map(|six| {
        let index = usize::from_str_radix(std::str::from_utf8(six).unwrap(), 2).unwrap();
        char::from(ALPHABET[index])
    });
    let mut out: String = digits.collect();
    while out.len() % 4 != 0 {
        out.push('=');
    }
    out
}

/// Runs wsload; its report and whether it was content.
fn wsload(server: &Server, arguments: &[&str]) -> (Value, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_wsload"))
        .args(arguments)
        .args(["--url", &format!("ws://127.0.0.1:{}/", server.port)])
        .args(["--pid", &std::process::id().to_string()])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
    (report, output.status.success())
}

const SHORT: [&str; 5] = ["echo", "--seconds", "0.3", "--warmup", "0"];

fn good(answer: Answer, more: &[&str]) {
    let server = serve(answer);
    let (report, content) = wsload(&server, &[&SHORT[..], more].concat());
    assert!(content, "{report}");
    assert_eq!(report["unanswered"], 0, "{report}");
    let counted = report["messages"].as_u64().unwrap();
    let seen = server.messages.load(Ordering::Relaxed);
    // What is under way when time is up is answered, but not counted.
    assert!(counted > 50 && counted <= seen && seen <= counted + 200, "{counted} of {seen}");
    assert!(report["cpu"]["server_us"].as_f64().unwrap() > 0.0);
}

fn bad(answer: Answer, message: &str) {
    let server = serve(answer);
    let (report, content) = wsload(&server, &[&SHORT[..], &["--pipeline", "4"]].concat());
    assert!(!content, "{report}");
    assert!(report["errors"].as_object().unwrap().contains_key(message), "{report}");
}

#[allow(clippy::needless_pass_by_value)]
fn echo(_: u64, payload: Vec<u8>) -> Vec<Vec<u8>> {
    vec![frame(0x81, &payload)]
}

#[test]
fn counts_echoes() {
    good(echo, &[]);
    good(echo, &["--size", "0"]);
    good(echo, &["--size", "3", "--pipeline", "100"]);
    good(echo, &["--size", "300", "--connections", "20", "--binary"]);
    good(echo, &["--size", "100000", "--binary", "--pipeline", "7", "--connections", "3"]);
    good(echo, &["--busy-poll", "--pipeline", "10"]);
}

#[test]
fn accepts_fragments_and_pings() {
    good(
        |_, payload| {
            let (a, b) = payload.split_at(payload.len() / 3);
            vec![frame(0x01, a), frame(0x89, b"are you there"), frame(0x00, b""), frame(0x80, b)]
        },
        &["--size", "500", "--pipeline", "5"],
    );
}

#[test]
fn accepts_replies_byte_by_byte() {
    good(
        |_, payload| frame(0x81, &payload).chunks(1).map(<[u8]>::to_vec).collect(),
        &["--size", "20"],
    );
}

#[test]
fn refuses_changed_reply() {
    bad(
        |n, mut payload| {
            if n == 50 {
                payload[31] ^= 1;
            }
            echo(n, payload)
        },
        "a reply differs from what was sent",
    );
}

#[test]
fn refuses_repeated_reply() {
    bad(
        |n, payload| {
            let reply = frame(0x81, &payload);
            if n == 50 {
                vec![reply.clone(), reply]
            } else {
                vec![reply]
            }
        },
        "a reply differs from what was sent",
    );
}

#[test]
fn refuses_lost_reply() {
    bad(
        // At 50 this would end the connection.
        |n, payload| if n == 51 { vec![] } else { echo(n, payload) },
        "a reply differs from what was sent",
    );
}

#[test]
fn refuses_truncated_reply() {
    bad(
        |n, payload| vec![frame(0x81, if n == 50 { &payload[..20] } else { &payload })],
        "a reply is shorter than what was sent",
    );
}

#[test]
fn refuses_masked_frame() {
    bad(
        |n, payload| {
            let mut reply = frame(0x81, &payload);
            if n == 50 {
                reply[1] |= 0x80;
            }
            vec![reply]
        },
        "masked frame from the server",
    );
}

#[test]
fn reports_closed_connection() {
    bad(
        |n, payload| if n == 50 { vec![frame(0x88, &[])] } else { echo(n, payload) },
        "the server sent a close frame",
    );
    let server = serve(|n, payload| if n == 50 { vec![] } else { echo(n, payload) });
    let (report, content) = wsload(&server, &SHORT);
    assert!(!content, "{report}");
    assert_eq!(report["errors"]["the server closed the connection"], 1, "{report}");
    assert_eq!((&report["messages"], &report["unanswered"]), (&49.into(), &1.into()), "{report}");
}

#[test]
fn reports_unanswered_messages() {
    let server = serve(|n, payload| if n > 50 { vec![] } else { echo(n, payload) });
    let (report, _) = wsload(&server, &SHORT);
    assert_eq!(report["unanswered"], 1, "{report}");
}

#[test]
fn counts_handshakes() {
    let server = serve(echo);
    let (report, content) = wsload(&server, &["connect", "--seconds", "0.5", "--concurrency", "8"]);
    assert!(content, "{report}");
    assert!(report["handshakes"].as_u64().unwrap() > 50, "{report}");
    assert_eq!(report["left_open"], 0, "{report}");
}

#[test]
fn counts_memory_per_connection() {
    let server = serve(echo);
    let (report, content) =
        wsload(&server, &["idle", "--connections", "100", "--hold", "0.2", "--sample", "10"]);
    assert!(content, "{report}");
    assert_eq!(
        (&report["connections"], &report["alive"], &report["sample_ok"]),
        (&100.into(), &100.into(), &10.into())
    );
    // The server has a thread per connection (and other tests have theirs).
    assert!((0.9..=1.5).contains(&report["opened"]["threads"].as_f64().unwrap()), "{report}");
}

#[test]
fn reports_that_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), messages: Arc::default() };
    drop(listener);
    let (report, content) = wsload(&server, &SHORT);
    assert!(!content);
    assert!(report["errors"].to_string().contains("Connection refused"), "{report}");
}
