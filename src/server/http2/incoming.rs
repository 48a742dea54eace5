//! What a peer has sent on a stream and its handler has not read.

use std::collections::VecDeque;

use hyper::body::Bytes;

/// Smaller data is copied together: else a byte would keep the buffer into which it was read.
const SMALL: usize = 4 * 1024;

/// Bytes in the order in which they came. The stream's window bounds them.
#[derive(Debug, Default)]
pub(super) struct ReceivedData {
    chunks: VecDeque<Chunk>,
    /// Index of the first byte of the first chunk that was not taken.
    start: usize,
}

#[derive(Debug)]
enum Chunk {
    /// Data of several frames.
    Copied(Vec<u8>),
    Whole(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }
}

impl ReceivedData {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends data, which is not empty.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() >= SMALL {
            return self.chunks.push_back(Chunk::Whole(data));
        }
        if let Some(Chunk::Copied(bytes)) = self.chunks.back_mut() {
            return bytes.extend_from_slice(&data);
        }
        self.chunks.push_back(Chunk::Copied(data.into()));
    }

    /// Takes at most `most` bytes from the front. Returns how many.
    pub(super) fn take(&mut self, most: usize, mut put: impl FnMut(&[u8])) -> usize {
        let mut left = most;
        while let Some(chunk) = self.chunks.front().filter(|_| left > 0) {
            let bytes = &chunk.bytes()[self.start..];
            let count = bytes.len().min(left);
            put(&bytes[..count]);
            left -= count;
            if count < bytes.len() {
                self.start += count;
            } else {
                self.start = 0;
                self.chunks.pop_front();
            }
        }
        most - left
    }

    /// Takes what is kept together at the front.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let mut bytes = match self.chunks.pop_front()? {
            Chunk::Copied(bytes) => bytes.into(),
            Chunk::Whole(bytes) => bytes,
        };
        Some(bytes.split_off(std::mem::take(&mut self.start)))
    }

    /// Drops everything. Returns how many bytes that was.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.take(usize::MAX, |_| {});
        self.chunks = VecDeque::new();
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_comes_is_taken_in_order(
            steps in proptest::collection::vec((1..10_000_usize, 0..10_000_usize), 1..40),
        ) {
            let (mut incoming, mut expected, mut taken) = (ReceivedData::default(), vec![], vec![]);
            for (number, (comes, goes)) in steps.into_iter().enumerate() {
                let data = vec![u8::try_from(number).unwrap(); comes];
                expected.extend_from_slice(&data);
                incoming.push(data.into());
                let before = taken.len();
                let count = incoming.take(goes, |bytes| taken.extend_from_slice(bytes));
                prop_assert_eq!(count, taken.len() - before);
                prop_assert!(count == goes || incoming.is_empty());
            }
            let rest = expected.len() - taken.len();
            prop_assert_eq!(&expected[..taken.len()], &taken[..]);
            prop_assert_eq!(incoming.is_empty(), rest == 0);
            if let Some(first) = incoming.pop() {
                let begin = taken.len();
                prop_assert_eq!(&expected[begin..begin + first.len()], &first[..]);
                incoming.push(first);
            }
            prop_assert_eq!(incoming.clear(), rest);
            prop_assert!(incoming.is_empty());
        }
    }

    #[test]
    fn small_data_is_kept_together() {
        let mut incoming = ReceivedData::default();
        for _ in 0..1000 {
            incoming.push(Bytes::from_static(b"x"));
        }
        assert_eq!(incoming.chunks.len(), 1);
        incoming.push(vec![0; SMALL].into());
        incoming.push(Bytes::from_static(b"x"));
        assert_eq!(incoming.chunks.len(), 3);
    }
}
