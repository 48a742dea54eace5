//! What the protocol layer costs by itself: `cargo bench --no-default-features --bench protocol`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use fastwsh::protocol::{
    deflate::{MessageDeflater, MessageInflater},
    frame::{FrameHeader, Opcode},
    handshake::Opening,
    head::HeadReader,
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
    Rules { expect_masked: true, deflate: true, late_rsv1: false, max_message_bytes: u64::MAX };

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
    for size in [32, 1 << 10, 1 << 20] {
        let mut data = vec![0xa5; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut data), KEY, 1));
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
        let bytes = frame(Opcode::BINARY, &vec![0; length]);
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
            let bytes = frame(opcode, &vec![b'a'; size]);
            let mut reader = MessageReader::new(RULES);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| reader.poll(&mut black_box(&bytes[..])));
            });
        }
    }
    let pipelined = frame(Opcode::TEXT, &[b'a'; 32]).repeat(64);
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
    group.finish();
}

fn compression(criterion: &mut Criterion) {
    let message = br#"{"user": "somebody", "text": "hello, world", "time": 1767225600}"#.repeat(16);
    let mut group = criterion.benchmark_group("deflate");
    group.throughput(Throughput::Bytes(message.len() as u64));
    for (name, no_context_takeover) in [("takeover", false), ("no takeover", true)] {
        let mut deflater = MessageDeflater::new(None, no_context_takeover);
        group.bench_function(BenchmarkId::new("deflate 1 KiB", name), |bencher| {
            bencher.iter(|| deflater.deflate(black_box(&message), true, false));
        });
    }
    let payload = MessageDeflater::new(None, true).deflate(&message, true, false);
    let mut inflater = MessageInflater::default();
    group.bench_function("inflate 1 KiB", |bencher| {
        bencher.iter(|| inflater.inflate(black_box(&payload), u64::MAX));
    });
    group.finish();
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
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        reserved: 0,
        opcode,
        masking_key: Some(KEY),
        length: payload.len() as u64,
        length_octets: 1,
    };
    let mut bytes = Vec::new();
    send::append_frame(&header, payload, &mut bytes);
    bytes
}
