//! Resets the signals of a program to what they are after a login. Python and other programs that
//! started the server may ignore signals; ignored signals stay ignored across exec(2), and programs
//! do not expect that. The program is also scheduled as others, and not as the thread that starts it.

// unsafe, because only `pre_exec` runs code between fork(2) and exec(2)
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ptr};

use tokio::process::Command;

use crate::system::{Native, System};

/// The highest number of a signal.
const LAST: i32 = 64;

/// Makes the program start with the default action for every signal, and with none blocked.
pub(super) fn reset(command: &mut Command) {
    let reset = || {
        for number in 1..=LAST {
            // SAFETY: SIG_DFL installs no code. What has another action (SIGKILL) is refused.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is written before it is read.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        }
        Native::interrupt_again();
        Ok(())
    };
    // SAFETY: all of the above is async-signal-safe (signal-safety(7)), and allocates nothing.
    unsafe { command.pre_exec(reset) };
}
