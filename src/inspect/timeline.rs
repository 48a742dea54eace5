//! The frames of one connection, the oldest of which are dropped when all timelines together are too large.

use std::collections::VecDeque;

/// What a record takes beside its data.
const OVERHEAD: usize = 120;

/// A frame that was received or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of a frame")]
pub struct Frame {
    /// Whether it came from the client.
    pub received: bool,
    /// FIN, RSV1 to RSV3 and the opcode, as on the wire.
    pub first: u8,
    /// Whether it was masked.
    pub masked: bool,
    /// Whether its length was encoded in the fewest octets.
    pub minimal: bool,
    /// The length of its payload on the wire, in bytes.
    pub wire: u64,
    /// The length of its payload when it is decompressed, in bytes.
    pub size: u64,
    /// Whether its payload is compressed, and could not be decompressed here.
    pub opaque: bool,
    /// Whether it was sent from the inspector.
    pub by_hand: bool,
    /// The beginning of its payload, decompressed.
    pub data: Box<[u8]>,
}

impl Frame {
    /// Whether it is a control frame (RFC 6455 5.5).
    pub(super) fn is_control(&self) -> bool {
        self.first & 0x08 != 0
    }

    /// Whether it is the last frame of its message: FIN is set (RFC 6455 5.2).
    pub(super) fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A frame.
    Frame(Frame),
    /// Something that was done from the inspector, or has happened to the connection.
    Note(Box<str>),
}

impl Record {
    fn bytes(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Frame(frame) => frame.data.len(),
                Self::Note(text) => text.len(),
            }
    }
}

/// Consecutive records.
#[derive(Debug, Default)]
pub struct TimelineSlice {
    /// Number, time in seconds since 1970, and the record.
    pub records: Vec<(u64, f64, Record)>,
    /// The number of the last record of the timeline.
    pub last: u64,
    /// How many records were dropped from its beginning.
    pub dropped: u64,
}

/// Records in their order, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    records: VecDeque<(f64, Record)>,
    dropped: u64,
    bytes: usize,
}

impl Timeline {
    /// Adds a record, and returns its bytes.
    pub(super) fn push(&mut self, time: f64, record: Record) -> usize {
        let bytes = record.bytes();
        self.bytes += bytes;
        self.records.push_back((time, record));
        bytes
    }

    /// Drops the oldest records until at most `limit` bytes are left. Returns how many bytes and
    /// records were dropped.
    pub(super) fn shrink(&mut self, limit: usize) -> (usize, u64) {
        let (bytes, dropped) = (self.bytes, self.dropped);
        while self.bytes > limit {
            let Some((_, oldest)) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.dropped += 1;
        }
        (bytes - self.bytes, self.dropped - dropped)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// At most `most` records behind the one with the number `after`, with at most `data_bytes` of
    /// each payload.
    pub(super) fn slice(&self, after: u64, most: usize, data_bytes: usize) -> TimelineSlice {
        let skipped = usize::try_from(after.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        let first = self.dropped + skipped.min(self.records.len()) as u64 + 1;
        let shown = self.records.iter().skip(skipped).take(most);
        let records = shown.zip(first..).map(|((time, record), number)| {
            let record = match record {
                Record::Frame(frame) if frame.data.len() > data_bytes => {
                    Record::Frame(Frame { data: frame.data[..data_bytes].into(), ..*frame })
                }
                record => record.clone(),
            };
            (number, *time, record)
        });
        TimelineSlice {
            records: records.collect(),
            last: self.dropped + self.records.len() as u64,
            dropped: self.dropped,
        }
    }
}
