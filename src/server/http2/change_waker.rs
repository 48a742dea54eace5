//! The waker with which a stream polls `h2`.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Weak,
    },
    task::{Wake, Waker},
};

use super::driver::{DrivenStream, Driver};

/// Has the driver poll a stream on which something has changed.
pub(super) struct ChangeWaker {
    driver: Arc<Driver>,
    stream: Weak<dyn DrivenStream>,
    /// Whether the driver is going to poll the stream, so that it need not be told again.
    is_noted: AtomicBool,
}

impl ChangeWaker {
    pub(super) fn new(driver: Arc<Driver>, stream: Weak<dyn DrivenStream>) -> Arc<Self> {
        Arc::new(Self { driver, stream, is_noted: AtomicBool::new(false) })
    }

    /// The waker for a poll that begins now: a change from here on is noted again.
    pub(super) fn begin_poll(self: &Arc<Self>) -> Waker {
        self.is_noted.store(false, Ordering::SeqCst);
        Waker::from(self.clone())
    }
}

impl Wake for ChangeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_noted.swap(true, Ordering::SeqCst) {
            if let Some(stream) = self.stream.upgrade() {
                self.driver.note_change(stream);
            }
        }
    }
}
