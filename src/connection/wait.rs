//! How a caller waits for a peer: not at all, in a thread of its own, by letting others run in its
//! thread meanwhile, or by coming back later. Who calls decides; the connection does not know.

use std::io;

use super::lock_waiters::LockWaiters;

/// How an operation waits.
#[derive(Clone, Copy)]
pub enum Wait<'a> {
    /// Not at all: [`io::ErrorKind::WouldBlock`].
    Never,
    /// In the system call, until it can be done.
    Long,
    /// By letting others run, or by coming back: see [`Park::waits`].
    Park(&'a dyn Park),
}

/// A caller that shares its thread with others: nothing that it calls may block.
///
/// It may be woken without a reason; whoever parks looks again at what it waited for.
pub trait Park {
    /// Whether its `wait_` methods wait. Those of a coroutine's caller cannot: they note what the
    /// caller is to be woken for and fail with [`io::ErrorKind::WouldBlock`], and the caller tries
    /// again then. What it has begun to send is kept and sent by the connection.
    fn waits(&self) -> bool;

    /// Whether there was something to read when last looked.
    fn is_readable(&self) -> bool;

    /// Says that reading found less than there was room for, or nothing.
    fn mark_drained(&self);

    /// Lets others go on if the caller has gone on for long: for loops that go on as long as a peer
    /// sends.
    ///
    /// # Errors
    /// If the caller is to end instead, or to come back.
    fn pause(&self) -> io::Result<()>;

    /// Waits until there may be something to read, or the end.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_readable(&self) -> io::Result<()>;

    /// Waits until the kernel takes bytes again, which it just did not.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_writable(&self) -> io::Result<()>;

    /// Waits until somebody has let go of a part of the connection, unless `is_free` is true by
    /// now.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()>;

    /// Does what takes long but does not wait, without keeping other threads from running.
    fn detached(&self, work: &mut (dyn FnMut() + Send));
}
