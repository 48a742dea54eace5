//! What a worker process needs of the system: the number of processors, and to end with its parent.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

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
/// if it has not done so after `seconds`. Needs no Python then, which a handler may keep busy. First
/// removes the folder that the other end would have removed.
#[pyfunction]
pub(super) fn end_with_peer(descriptor: i32, seconds: f64, folder: PathBuf) -> PyResult<()> {
    let time = Duration::try_from_secs_f64(seconds).map_err(value_error)?;
    let socket = descriptor::duplicate(descriptor).map_err(|error| os_error(&error))?;
    let watch = move || {
        // errors and the end of the connection are always reported
        let mut watched = [PollFd::new(&socket, PollFlags::empty())];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
        remove(&folder);
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

/// Removes a folder that other processes may be about to use, or to remove.
fn remove(folder: &Path) {
    // under the new name no process makes a file in it, and only this one removes it
    let mut renamed = folder.as_os_str().to_owned();
    renamed.push("-removed");
    if fs::rename(folder, &renamed).is_ok() {
        // what cannot be removed stays: the parent that could log it has ended
        let _ = fs::remove_dir_all(&renamed);
    }
}
