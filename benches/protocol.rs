//! What the protocol layer costs by itself: `cargo bench --no-default-features --bench protocol`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use fastwsh::protocol::{
    deflate::{DeflateLevel, MessageDeflater, MessageInflater, PieceEnd},
    frame::{FrameHeader, Opcode},
    handshake::Opening,
    head::HeadReader,
    limits::FrameLimits,
    mask,
    receive::{MessageReader, Rules},
    send,
    utf8::Validator,
};

const KEY: mask::MaskingKey = [0x37, 0xfa, 0x21, 0x3d];

/// What a browser sends.
const REQUEST: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com:9998\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
    Upgrade: websocket\r\n\
    Origin: http://server.example.com:9998\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

const RULES: Rules =
    Rules { expect_masked: true, deflate: true, late_rsv1: false, limits: FrameLimits::NONE };

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    masks(&mut criterion);
    texts(&mut criterion);
    headers(&mut criterion);
    messages(&mut criterion);
    compression(&mut criterion);
    handshakes(&mut criterion);
    criterion.final_summary();
}

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in [32, 45, 1 << 10, 1 << 20] {
        // several, since the next to write to bytes just written waits for them
        let mut pieces = vec![vec![0xa5; size]; (64 << 10 >> size.ilog2()).clamp(1, 64)];
        group.throughput(Throughput::Bytes((size * pieces.len()) as u64));
        group.bench_function(BenchmarkId::new(format!("{} of", pieces.len()), size), |bencher| {
            bencher.iter(|| {
                for piece in black_box(&mut pieces) {
                    mask::apply(piece, KEY, 1);
                }
            });
        });
    }
    group.finish();
}

fn texts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, character) in [("ascii", "a"), ("mixed", "aé世👋")] {
        for size in [32, 1 << 20] {
            let text = character.repeat(size / character.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let mut validator = Validator::default();
                    validator.push(black_box(text.as_bytes())).and_then(|()| validator.finish())
                });
            });
        }
    }
    group.finish();
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame_header");
    for length in [32, 1 << 10, 1 << 20] {
        let bytes = frame(Opcode::BINARY, &vec![0; length], KEY);
        group.bench_function(BenchmarkId::new("decode", length), |bencher| {
            bencher.iter(|| FrameHeader::decode(black_box(&bytes), true));
        });
    }
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    for (name, opcode) in [("text", Opcode::TEXT), ("binary", Opcode::BINARY)] {
        for size in [32, 1 << 20] {
            let bytes = frame(opcode, &vec![b'a'; size], KEY);
            let mut reader = MessageReader::new(RULES);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| reader.poll(&mut black_box(&bytes[..])));
            });
        }
    }
    // a key of zeros, so that unmasking in place can be repeated
    let one = frame(Opcode::TEXT, &[b'a'; 32], [0; 4]);
    let reader = MessageReader::new(RULES);
    group.throughput(Throughput::Elements(1));
    for (name, left) in [("nothing", &one[..0]), ("a message", &one), ("a part", &one[..9])] {
        group.bench_function(BenchmarkId::new("look ahead", name), |bencher| {
            bencher.iter(|| reader.has_message(black_box(left)));
        });
    }
    let mut pipelined = one.repeat(64);
    let mut reader = MessageReader::new(RULES);
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 pipelined", |bencher| {
        bencher.iter(|| {
            let mut input = black_box(&pipelined[..]);
            while let Ok(Some(event)) = reader.poll(&mut input) {
                black_box(event);
            }
        });
    });
    group.bench_function("64 pipelined, in place", |bencher| {
        bencher.iter(|| {
            let mut input = black_box(&mut pipelined[..]);
            while let Some(whole) = reader.take_whole(input) {
                input = &mut input[black_box(whole).payload.end..];
            }
        });
    });
    group.finish();
}

fn compression(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    for (size, count) in [(32, 2048), (1 << 10, 512), (64 << 10, 32)] {
        let messages = records(size, count);
        group.throughput(Throughput::Bytes(size as u64));
        for level in 1..=9 {
            let level = DeflateLevel::new(level).unwrap_or_default();
            let mut deflater = MessageDeflater::with_level(None, false, level);
            let (mut output, mut next, mut total) = (Vec::new(), messages.iter().cycle(), 0);
            for message in &messages {
                output.clear();
                deflater.deflate_into(message, PieceEnd::Message, &mut output);
                total += output.len();
            }
            let name = format!("level {}, to {} bytes", level.level(), total / count);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    output.clear();
                    let message = next.next().map_or(&[][..], Vec::as_slice);
                    deflater.deflate_into(black_box(message), PieceEnd::Message, &mut output);
                });
            });
        }
        let mut alone = MessageDeflater::with_level(None, true, DeflateLevel::FASTEST);
        let mut next = messages.iter().cycle();
        group.bench_function(BenchmarkId::new("level 1, no takeover", size), |bencher| {
            bencher
                .iter(|| alone.deflate(next.next().map_or(&[], Vec::as_slice), PieceEnd::Message));
        });
        for level in [DeflateLevel::FASTEST, DeflateLevel::PYWEBSOCKET] {
            let mut deflater = MessageDeflater::with_level(None, true, level);
            let payloads: Vec<_> = messages
                .iter()
                .map(|message| deflater.deflate(message, PieceEnd::Message))
                .collect();
            let (mut output, mut next) = (Vec::new(), payloads.iter().cycle());
            let mut inflater = MessageInflater::default();
            let name = format!("inflate level {}", level.level());
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    output.clear();
                    let payload = next.next().map_or(&[][..], Vec::as_slice);
                    inflater.inflate_into(black_box(payload), u64::MAX, &mut output)
                });
            });
        }
    }
    group.finish();
}

/// Texts like those of an application that exchanges JSON; together, more than a window holds.
fn records(size: usize, count: usize) -> Vec<Vec<u8>> {
    let mut word = 1_u64;
    let mut random = |below: usize| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(word >> 33).unwrap_or_default() % below
    };
    let record = || {
        format!(
            r#"{{"id":{},"type":"{}","price":{}.{:02},"active":{},"user":"user{}"}},"#,
            random(100_000),
            ["trade", "quote", "order", "cancel"][random(4)],
            random(1000),
            random(100),
            random(2) == 1,
            random(500),
        )
    };
    // a record has more than 50 bytes
    let text: String = std::iter::repeat_with(record).take(size * count / 50 + 1).collect();
    text.as_bytes().chunks_exact(size).take(count).map(<[u8]>::to_vec).collect()
}

fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.bench_function("request head", |bencher| {
        bencher.iter_batched_ref(
            HeadReader::default,
            |reader| reader.poll(black_box(REQUEST.as_bytes())),
            BatchSize::SmallInput,
        );
    });
    if let Ok(Some((head, _))) = HeadReader::default().poll(REQUEST.as_bytes()) {
        group.bench_function("check", |bencher| {
            bencher.iter(|| Opening::check(black_box(&head)));
        });
    }
    group.finish();
}

/// A masked frame.
fn frame(opcode: Opcode, payload: &[u8], key: mask::MaskingKey) -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        reserved: 0,
        opcode,
        masking_key: Some(key),
        length: payload.len() as u64,
        length_octets: 1,
    };
    let mut bytes = Vec::new();
    send::append_frame(&header, payload, &mut bytes);
    bytes
}
