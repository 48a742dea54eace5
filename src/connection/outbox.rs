//! The queue of a connection for frames that others than its handler send: messages of topics. It is
//! bounded in bytes, and says what happens to a peer that reads too slowly.
//!
//! The caller that pushes the first frame has the queue delivered. Until the queue is empty again,
//! one party is responsible for it: a thread that holds the sending half checks the queue after
//! releasing the half, a handler with an open fragmented message sends the last fragment, or a
//! thread of its own delivers, see [`LaterDelivery`].

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex,
    },
};

use crate::{
    locks::lock,
    protocol::{
        frame::{FrameHeader, Opcode, RSV1},
        send::append_frame,
    },
};

/// Frames that are sent in one system call, unless a single one is longer.
const BATCH_BYTES: usize = 64 * 1024;

/// A whole message in one frame, which many connections share.
#[derive(Debug)]
pub struct SharedFrame {
    bytes: Box<[u8]>,
    opcode: Opcode,
    /// Of the message, before it was compressed.
    size: usize,
}

impl SharedFrame {
    /// A frame of a server, which is not masked. `size` is that of the message before it was
    /// compressed.
    pub fn new(opcode: Opcode, payload: &[u8], compressed: bool, size: usize) -> Self {
        let header = FrameHeader {
            fin: true,
            reserved: if compressed { RSV1 } else { 0 },
            opcode,
            masking_key: None,
            length: payload.len() as u64,
            length_octets: 1,
        };
        let mut bytes = Vec::new();
        append_frame(&header, payload, &mut bytes);
        Self { bytes: bytes.into_boxed_slice(), opcode, size }
    }

    /// The length of header and payload.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What happens when a queue is full because the peer reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// The connection is closed.
    #[default]
    Close,
    /// The new message is dropped.
    DropNewest,
    /// The oldest messages are dropped.
    DropOldest,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits in the queue, from which `dropped` older frames were removed. If `is_due`, the
    /// caller has the queue delivered.
    Queued {
        /// The number of older frames that were dropped.
        dropped: u64,
        /// Whether no other party is responsible for the queue yet.
        is_due: bool,
    },
    /// It was dropped, because the queue is full, and so were older ones; the number includes all.
    Dropped(u64),
    /// The queue is full, and was emptied for ever: the caller closes the connection.
    TooSlow,
    /// The connection has ended, or ends.
    Ended,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is left to do for the caller: all is sent, or another party is responsible.
    Done,
    /// The peer must read first.
    Blocked,
    /// Nothing can be sent any more.
    Ended,
}

/// Has another thread deliver the queue of one connection that cannot be delivered at once.
pub trait LaterDelivery: Send + Sync {
    /// Has the queue delivered when the socket can be written to again. Must not block.
    fn deliver_when_writable(&self);
}

impl fmt::Debug for dyn LaterDelivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LaterDelivery")
    }
}

/// The queue of one connection.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    /// Whether frames wait here or in the sending half, which can be read without the lock.
    has_frames: AtomicBool,
    /// Whether nothing may be sent yet.
    is_paused: AtomicBool,
    limit: usize,
    policy: SlowPolicy,
    later_delivery: Box<dyn LaterDelivery>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Arc<SharedFrame>>,
    /// Bytes of `frames`.
    bytes: usize,
    /// Bytes that have left the queue and wait in the sending half.
    in_send_half: usize,
    has_ended: bool,
    /// Whether the thread of [`LaterDelivery`] is to deliver.
    is_with_thread: bool,
}

/// Frames to be sent together.
#[derive(Debug)]
pub(super) enum Batch {
    One(Arc<SharedFrame>),
    Many(Vec<u8>),
}

impl Batch {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::One(frame) => &frame.bytes,
            Self::Many(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// An empty queue of at most `limit` bytes for a connection.
    pub fn new(limit: usize, policy: SlowPolicy, later_delivery: Box<dyn LaterDelivery>) -> Self {
        let (has_frames, is_paused) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { queue: Mutex::default(), has_frames, is_paused, limit, policy, later_delivery }
    }

    /// Sets whether nothing may be sent yet, as before the answer to the opening handshake. The
    /// caller that clears this has the queue delivered.
    pub(super) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::SeqCst);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::SeqCst)
    }

    /// Appends a frame, unless the queue is full. With `by_thread`, the caller has the thread deliver
    /// if the queue is due.
    pub fn push(&self, frame: &Arc<SharedFrame>, by_thread: bool) -> Pushed {
        let mut queue = lock(&self.queue);
        if queue.has_ended {
            return Pushed::Ended;
        }
        let (is_due, mut dropped) = (queue.frames.is_empty() && !queue.is_with_thread, 0);
        while queue.bytes + queue.in_send_half + frame.len() > self.limit {
            match self.policy {
                SlowPolicy::Close => {
                    self.clear(&mut queue);
                    return Pushed::TooSlow;
                }
                SlowPolicy::DropNewest => return Pushed::Dropped(1),
                SlowPolicy::DropOldest => {
                    let Some(oldest) = queue.frames.pop_front() else { break };
                    queue.bytes -= oldest.len();
                    dropped += 1;
                }
            }
        }
        if queue.bytes + queue.in_send_half + frame.len() > self.limit {
            // a frame that is partly sent cannot be dropped, and what is left of the limit is too little
            self.note(&queue);
            return Pushed::Dropped(dropped + 1);
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame.clone());
        queue.is_with_thread |= is_due && by_thread;
        self.note(&queue);
        Pushed::Queued { dropped, is_due }
    }

    fn note(&self, queue: &Queue) {
        let has_frames = !queue.frames.is_empty() || queue.in_send_half > 0;
        self.has_frames.store(has_frames, Ordering::SeqCst);
    }

    /// Whether frames wait.
    pub(super) fn has_frames(&self) -> bool {
        self.has_frames.load(Ordering::SeqCst)
    }

    /// Drops all frames, now and from now on.
    pub fn end(&self) {
        self.clear(&mut lock(&self.queue));
    }

    fn clear(&self, queue: &mut Queue) {
        queue.has_ended = true;
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        self.has_frames.store(false, Ordering::SeqCst);
    }

    /// Takes the next frames. The caller has locked the sending half, so that nothing overtakes them.
    pub(super) fn take(&self, mut note: impl FnMut(Opcode, usize)) -> Option<Batch> {
        let mut queue = lock(&self.queue);
        let first = queue.frames.pop_front();
        let mut batch = first.map(|first| {
            queue.bytes -= first.len();
            note(first.opcode, first.size);
            Batch::One(first)
        });
        while let (Some(frames), Some(next)) = (&mut batch, queue.frames.front()) {
            if frames.bytes().len() + next.len() > BATCH_BYTES {
                break;
            }
            let bytes = match frames {
                Batch::Many(bytes) => bytes,
                Batch::One(frame) => {
                    let mut bytes = Vec::with_capacity(BATCH_BYTES.min(frame.len() + queue.bytes));
                    bytes.extend_from_slice(&frame.bytes);
                    *frames = Batch::Many(bytes);
                    continue;
                }
            };
            bytes.extend_from_slice(&next.bytes);
            note(next.opcode, next.size);
            queue.bytes -= next.len();
            queue.frames.pop_front();
        }
        if queue.frames.is_empty() {
            // do not keep the memory of a burst that is over
            queue.frames.shrink_to(4);
        }
        self.note(&queue);
        batch
    }

    /// Notes how many of the bytes that were taken could not be sent yet.
    pub(super) fn note_in_send_half(&self, bytes: usize) {
        let mut queue = lock(&self.queue);
        // the sending half may also hold frames of the handler, so the number may exceed the limit
        queue.in_send_half = bytes.min(self.limit);
        self.note(&queue);
    }

    /// Has the thread deliver when the socket can be written to, unless it was asked before.
    pub(super) fn deliver_when_writable(&self) {
        let is_with_thread = std::mem::replace(&mut lock(&self.queue).is_with_thread, true);
        if !is_with_thread {
            self.later_delivery.deliver_when_writable();
        }
    }

    /// Notes that the thread begins its attempt.
    pub(super) fn note_attempt(&self) {
        lock(&self.queue).is_with_thread = false;
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        let queue = lock(&self.queue);
        queue.bytes + queue.in_send_half
    }
}
