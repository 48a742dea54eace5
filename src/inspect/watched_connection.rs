//! One watched connection.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex, OnceLock, Weak,
    },
    time::Instant,
};

use super::{
    heads::{parse_answer, Heads},
    inspector_state::InspectorState,
    pace::{Pace, PacedStream},
    reader::{FrameObserver, Reader},
    timeline::{Frame, Record, Timeline, TimelineSlice},
};
use crate::{
    connection::{Account, Transport},
    locks::lock,
    protocol::{
        handshake::{opens, SWITCHING_PROTOCOLS},
        negotiate::PERMESSAGE_DEFLATE,
    },
};

/// The most bytes to show of those that a client sends before the answer to its opening handshake.
const EARLY_BYTES: usize = 64 * 1024;

/// The longest answer to an opening handshake that is understood.
const ANSWER_BYTES: usize = 64 * 1024;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// How a connection has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// When, in seconds since 1970.
    pub time: f64,
    /// What had been sent and received.
    pub account: Account,
}

/// A connection.
#[derive(Debug)]
pub struct WatchedConnection {
    /// Its number, from 1.
    pub id: u64,
    /// What is known of it from its beginning.
    pub heads: Heads,
    shared: Arc<InspectorState>,
    transport: OnceLock<Weak<Transport>>,
    stream: OnceLock<Weak<dyn PacedStream>>,
    incoming: Mutex<ReceivedBytes>,
    outgoing: Mutex<SentBytes>,
    timeline: Arc<Mutex<Timeline>>,
    /// Whether permessage-deflate was agreed to.
    has_deflate: AtomicBool,
    /// The arrival of the first message that has not been answered.
    unanswered: Mutex<Option<Instant>>,
    /// The message at which the connection is to be reset, counted from now; 0: none.
    drop_at: AtomicU64,
    /// Where frames from the inspector begin among the bytes that are sent.
    by_hand: Mutex<VecDeque<u64>>,
    ended: OnceLock<Ended>,
    on_reset: OnceLock<OnReset>,
}

/// Called when the connection is reset from the inspector.
struct OnReset(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnReset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnReset")
    }
}

#[derive(Debug)]
struct ReceivedBytes {
    reader: Reader,
    /// Whether the opening handshake is over, so that what comes is frames.
    is_open: bool,
    early: Vec<u8>,
}

#[derive(Debug)]
struct SentBytes {
    reader: Reader,
    /// The answer to the opening handshake, until it is complete.
    answer: Option<Vec<u8>>,
    /// What follows is frames.
    is_open: bool,
    /// Bytes so far.
    bytes: u64,
}

impl WatchedConnection {
    /// `answer_is_bytes`: the answer to the opening handshake is sent by the stream, as in HTTP/1.1.
    pub(super) fn new(
        id: u64,
        heads: Heads,
        answer_is_bytes: bool,
        shared: Arc<InspectorState>,
    ) -> Self {
        Self {
            id,
            heads,
            transport: OnceLock::new(),
            stream: OnceLock::new(),
            incoming: Mutex::new(ReceivedBytes {
                reader: Reader::new(true),
                is_open: false,
                early: Vec::new(),
            }),
            outgoing: Mutex::new(SentBytes {
                reader: Reader::new(false),
                answer: answer_is_bytes.then(Vec::new),
                is_open: false,
                bytes: 0,
            }),
            timeline: shared.add_timeline(id),
            has_deflate: AtomicBool::new(false),
            unanswered: Mutex::new(None),
            drop_at: AtomicU64::new(0),
            by_hand: Mutex::default(),
            ended: OnceLock::new(),
            on_reset: OnceLock::new(),
            shared,
        }
    }

    /// Sets a function to call after a reset from the inspector: the task of an HTTP/2 stream must
    /// notice it.
    pub fn set_on_reset(&self, act: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_reset.set(OnReset(Box::new(act)));
    }

    pub(super) fn was_reset(&self) {
        if let Some(OnReset(act)) = self.on_reset.get() {
            act();
        }
    }

    pub(super) fn set_stream(&self, stream: Weak<dyn PacedStream>) {
        let _ = self.stream.set(stream);
    }

    /// Sets the transport of the connection.
    pub fn set_transport(&self, transport: &Arc<Transport>) {
        let _ = self.transport.set(Arc::downgrade(transport));
    }

    /// The connection, until its handler has ended.
    pub fn transport(&self) -> Option<Arc<Transport>> {
        self.transport.get().and_then(Weak::upgrade).filter(|_| self.ended().is_none())
    }

    /// How it has ended.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Notes that it has ended.
    pub fn end(&self, account: Account) {
        let time = self.shared.time(Instant::now());
        if self.ended.set(Ended { time, account }).is_err() {
            return;
        }
        let incoming = lock(&self.incoming).reader.end();
        let outgoing = lock(&self.outgoing).reader.end();
        let count = usize::from(incoming) + usize::from(outgoing);
        self.shared.release_decompressors(count);
        self.shared.note_ended(self.id);
    }

    /// Notes an answer to the opening handshake that is not among the bytes of the stream.
    pub fn note_answer(&self, status: u16, headers: Vec<(String, String)>) {
        self.take_answer(status, headers);
        if opens(status) {
            lock(&self.outgoing).is_open = true;
            self.open();
        }
    }

    fn take_answer(&self, status: u16, headers: Vec<(String, String)>) {
        self.heads.set_answer(status, headers);
        let extensions = self.heads.answer_header("Sec-WebSocket-Extensions");
        self.has_deflate.store(extensions.contains(PERMESSAGE_DEFLATE), Ordering::SeqCst);
    }

    /// What comes is frames from now on, and so is what has come before.
    fn open(&self) {
        let mut incoming = lock(&self.incoming);
        incoming.is_open = true;
        let early = std::mem::take(&mut incoming.early);
        incoming.reader.feed(&early, 0, &TimelineObserver { watched: self, now: Instant::now() });
    }

    /// Takes bytes from the client. Returns the end of the message at which the connection is to be
    /// reset, if that is among them.
    pub(super) fn note_received(&self, bytes: &[u8]) -> Option<usize> {
        let observer = TimelineObserver { watched: self, now: Instant::now() };
        let mut incoming = lock(&self.incoming);
        if !incoming.is_open {
            let most = EARLY_BYTES.saturating_sub(incoming.early.len());
            incoming.early.extend_from_slice(&bytes[..bytes.len().min(most)]);
            return None;
        }
        let drop_at = self.drop_at.load(Ordering::SeqCst);
        let (end, messages) = incoming.reader.feed(bytes, drop_at, &observer);
        drop(incoming);
        if drop_at > 0 {
            let left = if end.is_some() { 0 } else { drop_at - messages };
            let noted = Ordering::SeqCst;
            // unless it has been set again meanwhile
            let _ = self.drop_at.compare_exchange(drop_at, left, noted, noted);
        }
        if end.is_some() {
            self.note("reset at this message, which the handler does not get");
        }
        end
    }

    /// Takes bytes that were sent.
    pub(super) fn note_sent(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let observer = TimelineObserver { watched: self, now: Instant::now() };
        let mut outgoing = lock(&self.outgoing);
        let mut frames = bytes;
        if let Some(answer) = &mut outgoing.answer {
            let before = answer.len();
            answer.extend_from_slice(bytes);
            let from = before.saturating_sub(END_OF_HEAD.len() - 1);
            let end = answer[from..].windows(END_OF_HEAD.len()).position(|it| it == END_OF_HEAD);
            let Some(end) = end.map(|end| from + end + END_OF_HEAD.len()) else {
                if answer.len() > ANSWER_BYTES {
                    // too long for an answer: show nothing of what is sent
                    outgoing.answer = None;
                }
                return;
            };
            let head = outgoing.answer.take().unwrap_or_default();
            let (status, headers) = parse_answer(&head[..end]);
            self.take_answer(status, headers);
            outgoing.bytes += (end - before) as u64;
            outgoing.is_open = status == SWITCHING_PROTOCOLS;
            frames = &bytes[end - before..];
            if outgoing.is_open {
                self.open();
            }
        }
        if outgoing.is_open {
            let start = outgoing.bytes;
            outgoing.bytes += frames.len() as u64;
            outgoing.reader.feed_at(start, frames, &observer);
        }
    }

    /// Notes that what is sent next is from the inspector. The caller has locked the sending half of
    /// the connection, and nothing is held back there.
    pub fn mark_by_hand(&self) {
        let waiting = self.stream.get().and_then(Weak::upgrade);
        let waiting = waiting.map_or(0, |stream| stream.pacer().waiting() as u64);
        let start = lock(&self.outgoing).bytes + waiting;
        lock(&self.by_hand).push_back(start);
    }

    /// Adds a line to the timeline.
    pub fn note(&self, text: &str) {
        self.push(Instant::now(), Record::Note(text.into()));
    }

    fn push(&self, now: Instant, record: Record) {
        let bytes = lock(&self.timeline).push(self.shared.time(now), record);
        self.shared.note_growth(bytes);
    }

    /// Records of its timeline, see [`Timeline::slice`].
    pub fn records(&self, after: u64, most: usize, data_bytes: usize) -> TimelineSlice {
        lock(&self.timeline).slice(after, most, data_bytes)
    }

    /// Bytes that wait here because the connection is slowed down.
    pub fn slowed_bytes(&self) -> usize {
        self.live_stream().map_or(0, |stream| stream.pacer().waiting())
    }

    /// How fast it sends.
    pub fn pace(&self) -> Pace {
        self.live_stream().map(|stream| stream.pacer().pace()).unwrap_or_default()
    }

    /// Sets how fast it sends. Returns `false` if it has ended.
    ///
    /// # Errors
    /// If there is no thread for that.
    pub fn set_pace(&self, pace: Pace) -> io::Result<bool> {
        let Some(stream) = self.live_stream() else { return Ok(false) };
        stream.set_pace(pace)?;
        if pace != Pace::Stalled {
            if let Some(transport) = self.transport() {
                transport.wake_readers();
            }
        }
        Ok(true)
    }

    /// Ends a stall, because the server ends.
    pub fn end_stall(&self) {
        if self.pace() == Pace::Stalled {
            // only the start of a thread can fail
            let _ = self.set_pace(Pace::Full);
        }
    }

    /// Resets the connection at the `count`th message from now on; 0: does not.
    pub fn drop_at(&self, count: u64) {
        self.drop_at.store(count, Ordering::SeqCst);
    }

    fn live_stream(&self) -> Option<Arc<dyn PacedStream>> {
        self.stream.get().and_then(Weak::upgrade).filter(|_| self.ended().is_none())
    }
}

struct TimelineObserver<'a> {
    watched: &'a WatchedConnection,
    now: Instant,
}

impl FrameObserver for TimelineObserver<'_> {
    fn has_deflate(&self) -> bool {
        self.watched.has_deflate.load(Ordering::SeqCst)
    }

    fn take_decompressor(&self) -> bool {
        self.watched.ended().is_none() && self.watched.shared.take_decompressor()
    }

    fn frame_begins(&self, position: u64) -> bool {
        let mut by_hand = lock(&self.watched.by_hand);
        let mut is_by_hand = false;
        while by_hand.front().is_some_and(|start| *start <= position) {
            is_by_hand = by_hand.pop_front() == Some(position);
        }
        is_by_hand
    }

    fn frame(&self, frame: Frame) {
        if !frame.is_control() && frame.received {
            if frame.is_last() {
                lock(&self.watched.unanswered).get_or_insert(self.now);
            }
        } else if !frame.is_control() && !frame.by_hand {
            if let Some(arrival) = lock(&self.watched.unanswered).take() {
                self.watched.shared.latency.note(self.now.saturating_duration_since(arrival));
            }
        }
        self.watched.push(self.now, Record::Frame(frame));
    }

    fn frames_lost(&self, received: bool) {
        let who = if received { "the client" } else { "the server" };
        self.watched.note(&format!(
            "what {who} sends from here on cannot be shown: it begins with no frame header"
        ));
    }
}
