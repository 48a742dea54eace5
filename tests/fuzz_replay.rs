//! Replays the corpus of every fuzz target, and seeded mutations of it, without libFuzzer.

use std::{fs, io, path::Path};

use fastwsh::fuzzing;

/// Mutations per target, and a hundred for each of its files.
const MUTATIONS: usize = 2_000;

/// A generator of numbers that is the same on every machine (Vigna's splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn corpus(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(fs::read).collect()
}

/// Changes, removes, repeats or inserts a few bytes.
fn mutate(random: &mut Random, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] = random.byte(),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.byte()),
            4 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => {
                let other = &others[random.below(others.len())];
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    bytes
}

fn replay(target: &str, check: fn(&[u8])) -> io::Result<()> {
    let inputs = corpus(target)?;
    assert!(!inputs.is_empty(), "no corpus for {target}");
    let mut random = Random(0);
    for input in &inputs {
        check(input);
        for _ in 0..MUTATIONS / inputs.len() + 100 {
            check(&mutate(&mut random, input, &inputs));
        }
    }
    Ok(())
}

#[test]
fn frame_header() -> io::Result<()> {
    replay("frame_header", fuzzing::frame_header)
}

#[test]
fn message_assembly() -> io::Result<()> {
    replay("message_assembly", fuzzing::message_assembly)
}

#[test]
fn inflate() -> io::Result<()> {
    replay("inflate", fuzzing::inflate)
}

#[test]
fn extension_header() -> io::Result<()> {
    replay("extension_header", fuzzing::extension_header)
}

#[test]
fn request_head() -> io::Result<()> {
    replay("request_head", fuzzing::request_head)
}

#[test]
fn close_body() -> io::Result<()> {
    replay("close_body", fuzzing::close_body)
}

#[test]
fn control_front() -> io::Result<()> {
    replay("control_front", fuzzing::control_front)
}

#[test]
fn raw_frames() -> io::Result<()> {
    replay("raw_frames", fuzzing::raw_frames)
}

#[test]
fn deflate_offer() -> io::Result<()> {
    replay("deflate_offer", fuzzing::deflate_offer)
}

#[test]
fn opening() -> io::Result<()> {
    replay("opening", fuzzing::opening)
}

#[test]
fn request_target() -> io::Result<()> {
    replay("request_target", fuzzing::request_target)
}

#[test]
fn proxy_header() -> io::Result<()> {
    replay("proxy_header", fuzzing::proxy_header)
}

#[test]
fn forwarded_for() -> io::Result<()> {
    replay("forwarded_for", fuzzing::forwarded_for)
}

#[cfg(feature = "server")]
#[test]
fn http_resource() -> io::Result<()> {
    replay("http_resource", fuzzing::http_resource)
}

#[cfg(feature = "server")]
#[test]
fn body_framing() -> io::Result<()> {
    replay("body_framing", fuzzing::body_framing)
}

#[cfg(feature = "server")]
#[test]
fn stream_head() -> io::Result<()> {
    replay("stream_head", fuzzing::stream_head)
}
