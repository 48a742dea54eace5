//! The masked copy of a frame that a client sends, in a buffer that the thread keeps for the next.
//!
//! Without it, the C library gives the memory of two messages of 64 KiB back to the system, and gets
//! it again for the next two: page faults were a third of the time of an echo.

use std::cell::Cell;

use crate::protocol::{
    frame::{FrameHeader, MAX_HEADER},
    send::append_frame,
};

/// The largest buffer that a thread keeps.
const MAX_KEPT: usize = 128 * 1024;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Passes a frame to `send`, masked if its header says so.
pub(super) fn with_frame<T>(
    header: &FrameHeader,
    payload: &[u8],
    send: impl FnOnce(&[u8]) -> T,
) -> T {
    let mut frame = KEPT.take();
    frame.reserve_exact(MAX_HEADER + payload.len());
    append_frame(header, payload, &mut frame);
    let result = send(&frame);
    if frame.capacity() <= MAX_KEPT {
        frame.clear();
        KEPT.set(frame);
    }
    result
}
