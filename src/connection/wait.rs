//! How a caller waits for a peer: not at all, in a thread of its own, by letting others run in its
//! thread meanwhile, or by trying again later. The caller decides; the connection does not know
//! where it runs.

use std::io;

use super::lock_waiters::LockWaiters;

/// From this size on, to read or send takes longer than it costs to release the interpreter, so it is
/// done by [`Park::detached`].
pub(super) const DETACH_MIN: usize = 32 * 1024;

/// How an operation waits.
#[derive(Clone, Copy)]
pub enum Wait<'a> {
    /// Not at all: [`io::ErrorKind::WouldBlock`].
    Never,
    /// In the system call, until it can be done.
    Long,
    /// By letting others run, or by trying again later: see [`Park::waits`].
    Park(&'a dyn Park),
}

/// A caller that shares its thread with others: nothing that it calls may block.
///
/// It may be woken without a reason, so it must check again what it waited for.
pub trait Park {
    /// Whether its `wait_` methods wait. Those of a coroutine cannot: they register the coroutine
    /// to be woken and fail with [`io::ErrorKind::WouldBlock`], and the coroutine tries again when
    /// it is woken. The connection keeps what the coroutine has begun to send, and sends it.
    fn waits(&self) -> bool;

    /// Whether there was something to read at the last look.
    fn is_readable(&self) -> bool;

    /// Notes that a read found nothing, or less than there was room for.
    fn mark_drained(&self);

    /// Lets others run if the caller has used the thread for long. Loops that last as long as a
    /// peer sends call this.
    ///
    /// # Errors
    /// If the caller is to end instead, or to come back.
    fn pause(&self) -> io::Result<()>;

    /// Waits until there may be something to read, or the stream may have ended.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_readable(&self) -> io::Result<()>;

    /// Waits until the kernel accepts bytes again, after it has just refused some.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_writable(&self) -> io::Result<()>;

    /// Waits until another caller has released a half of the connection. Returns at once if
    /// `is_free` is true by now.
    ///
    /// # Errors
    /// If the caller is to end instead.
    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()>;

    /// Runs `work`, which takes long but does not wait, while other threads may run Python.
    fn detached(&self, work: &mut (dyn FnMut() + Send));
}
