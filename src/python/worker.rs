//! What a worker process needs of the system: the number of processors, and to end with its parent.

use std::{thread, time::Duration};

use pyo3::prelude::*;
use rustix::{
    event::{poll, PollFd, PollFlags},
    io::Errno,
    process::{getpid, kill_process, Signal},
};

use super::{
    descriptor,
    errors::{os_error, value_error},
};

/// How many threads of this process can run at the same time: by its affinity and its quota.
#[pyfunction]
pub(super) fn available_parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Ends this process when the other end of a socket is closed: tells it to end, and ends it at once
/// if it has not done so after `seconds`. Needs no Python then, which a handler may keep busy.
#[pyfunction]
pub(super) fn end_with_peer(descriptor: i32, seconds: f64) -> PyResult<()> {
    let time = Duration::try_from_secs_f64(seconds).map_err(value_error)?;
    let socket = descriptor::duplicate(descriptor).map_err(|error| os_error(&error))?;
    let watch = move || {
        // errors and the end of the connection are always reported
        let mut watched = [PollFd::new(&socket, PollFlags::empty())];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
        // it fails only for a process that has ended
        let _ = kill_process(getpid(), Signal::TERM);
        thread::sleep(time);
        let _ = kill_process(getpid(), Signal::KILL);
    };
    thread::Builder::new()
        .name("fastwsh-parent".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(|error| os_error(&error))
}
