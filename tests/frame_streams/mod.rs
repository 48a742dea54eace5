//! Streams of frames: valid ones and what they say, mutations of them, and frames without any law.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, Index},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Said {
    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    /// Whether the length takes more octets than it needs: both sides only shrug at that.
    long: bool,
    payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (u8::try_from(self.payload.len()), u16::try_from(self.payload.len())) {
            (Ok(length @ ..126), _) if !self.long => bytes.push(bit | length),
            (_, Ok(length)) if !self.long || length < 126 => {
                bytes.push(bit | 0x7e);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(bit | 0x7f);
                bytes.extend((self.payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(self.mask.iter().flatten());
        let key = self.mask.unwrap_or_default();
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// A key and whether the length is long.
fn manner() -> impl Strategy<Value = ([u8; 4], bool)> {
    (any::<[u8; 4]>(), prop::bool::weighted(0.05))
}

fn control() -> impl Strategy<Value = (Frame, Said)> {
    (any::<bool>(), vec(any::<u8>(), 0..=125), manner()).prop_map(|(ping, payload, manner)| {
        let (mask, long) = (Some(manner.0), manner.1);
        let frame = Frame { first: 0x8a - u8::from(ping), mask, long, payload: payload.clone() };
        (frame, if ping { Said::Ping(payload) } else { Said::Pong(payload) })
    })
}

fn content() -> impl Strategy<Value = Said> {
    let times = select(vec![1_usize, 1, 1, 1, 4, 40]);
    let size = prop_oneof![8 => 0..40_usize, 2 => 120..130_usize, 1 => 65_530..65_540_usize];
    prop_oneof![
        (any::<String>(), times).prop_map(|(text, times)| Said::Text(text.repeat(times).into())),
        (any::<u8>(), size).prop_map(|(byte, size)| Said::Binary(vec![byte; size])),
    ]
}

/// The frames of a message, control frames between them, and what all of them say.
pub(crate) fn message() -> impl Strategy<Value = (Vec<Frame>, Vec<Said>)> {
    let piece = (any::<Index>(), manner(), vec(control(), 0..2));
    (content(), vec(piece, 1..5)).prop_map(|(content, pieces)| {
        let (opcode, mut rest) = match &content {
            Said::Text(text) => (0x1, &text[..]),
            Said::Binary(bytes) => (0x2, &bytes[..]),
            _ => unreachable!("content is data"),
        };
        let (mut frames, mut said) = (Vec::new(), Vec::new());
        let last = pieces.len() - 1;
        for (number, (cut, (key, long), controls)) in pieces.into_iter().enumerate() {
            for (frame, what) in controls {
                frames.push(frame);
                said.push(what);
            }
            let size = if number == last { rest.len() } else { cut.index(rest.len() + 1) };
            let (piece, others) = rest.split_at(size);
            rest = others;
            let first = if number == 0 { opcode } else { 0x0 };
            let fin = if number == last { 0x80 } else { 0 };
            frames.push(Frame { first: fin | first, mask: Some(key), long, payload: piece.into() });
        }
        said.push(content);
        (frames, said)
    })
}

pub(crate) fn closing() -> impl Strategy<Value = (Vec<Frame>, Vec<Said>)> {
    let code = select(vec![1000_u16, 1001, 1003, 1011, 1013, 3000, 4999]);
    (proptest::option::of((code, ".{0,20}")), manner()).prop_map(|(close, (key, long))| {
        let payload = close
            .iter()
            .flat_map(|(code, reason)| code.to_be_bytes().into_iter().chain(reason.bytes()));
        let frame = Frame { first: 0x88, mask: Some(key), long, payload: payload.collect() };
        (vec![frame], vec![Said::Close(close)])
    })
}

/// A frame that may break every rule.
pub(crate) fn lawless() -> impl Strategy<Value = Frame> {
    let text = prop_oneof![any::<String>().prop_map(String::into_bytes), vec(any::<u8>(), 0..9)];
    let code = prop_oneof![990..1020_u16, any::<u16>()];
    let close =
        (code, text.clone()).prop_map(|(code, text)| [&code.to_be_bytes()[..], &text].concat());
    let byte = vec(any::<u8>(), 1);
    let payload = prop_oneof![3 => text, 1 => byte, 3 => vec(any::<u8>(), 0..140), 3 => close];
    let reserved = prop_oneof![4 => Just(0_u8), 1 => 0..8_u8];
    let opcode = prop_oneof![6 => select(vec![0_u8, 1, 2, 8, 8, 9, 10]), 1 => 0..16_u8];
    let mask = proptest::option::weighted(0.9, any::<[u8; 4]>());
    (any::<bool>(), reserved, opcode, mask, payload).prop_map(
        |(fin, reserved, opcode, mask, payload)| {
            let first = (u8::from(fin) << 7) | (reserved << 4) | opcode;
            Frame { first, mask, long: false, payload }
        },
    )
}

/// The header of a frame that is longer than any stream here.
pub(crate) fn endless() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![1 << 24..1_u64 << 40, 1 << 63..=u64::MAX, Just((1 << 63) - 1)];
    let first = select(vec![0x81_u8, 0x82, 0x02, 0x80, 0x89]);
    (first, length, any::<[u8; 4]>())
        .prop_map(|(first, length, key)| [&[first, 0xff], &length.to_be_bytes()[..], &key].concat())
}

/// What happens to a stream on its way.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    Flip(Index, Index, u8),
    Set(Index, Index, u8),
    Insert(Index, Index, u8),
    Remove(Index, Index),
    /// Nothing comes behind this byte.
    Truncate(Index, Index),
    Drop(Index),
    Repeat(Index),
    Swap(Index, Index),
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), index(), 0..8_u8).prop_map(|(at, byte, bit)| Mutation::Flip(at, byte, bit)),
        1 => (index(), index(), any::<u8>()).prop_map(|(at, byte, new)| Mutation::Set(at, byte, new)),
        1 => (index(), index(), any::<u8>())
            .prop_map(|(at, byte, new)| Mutation::Insert(at, byte, new)),
        1 => (index(), index()).prop_map(|(at, byte)| Mutation::Remove(at, byte)),
        1 => (index(), index()).prop_map(|(at, byte)| Mutation::Truncate(at, byte)),
        2 => index().prop_map(Mutation::Drop),
        1 => index().prop_map(Mutation::Repeat),
        2 => (index(), index()).prop_map(|(one, other)| Mutation::Swap(one, other)),
    ]
}

impl Mutation {
    pub(crate) fn apply(&self, frames: &mut Vec<Vec<u8>>) {
        if frames.is_empty() {
            return;
        }
        let count = frames.len();
        let place = |frames: &[Vec<u8>], at: &Index, byte: &Index| {
            let at = at.index(count);
            // half of the places are in the header, however long the payload is
            let length = frames[at].len().max(1);
            let byte = byte.index(2 * length);
            (at, if byte < length { byte } else { byte % length.min(14) })
        };
        match self {
            Self::Flip(at, byte, bit) => {
                let (at, byte) = place(frames, at, byte);
                frames[at].get_mut(byte).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            Self::Set(at, byte, new) => {
                let (at, byte) = place(frames, at, byte);
                frames[at].get_mut(byte).into_iter().for_each(|byte| *byte = *new);
            }
            Self::Insert(at, byte, new) => {
                let (at, byte) = place(frames, at, byte);
                let byte = byte.min(frames[at].len());
                frames[at].insert(byte, *new);
            }
            Self::Remove(at, byte) => {
                let (at, byte) = place(frames, at, byte);
                if byte < frames[at].len() {
                    frames[at].remove(byte);
                }
            }
            Self::Truncate(at, byte) => {
                let (at, byte) = place(frames, at, byte);
                frames.truncate(at + 1);
                frames[at].truncate(byte);
            }
            Self::Drop(at) => drop(frames.remove(at.index(count))),
            Self::Repeat(at) => frames.insert(at.index(count), frames[at.index(count)].clone()),
            Self::Swap(one, other) => frames.swap(one.index(count), other.index(count)),
        }
    }
}

/// The pieces that a stream comes in.
pub(crate) fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.extend([0, stream.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}
