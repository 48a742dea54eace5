//! Bytes that a handler sends before its answer, which HTTP/2 and HTTP/3 do not allow.

use super::Connection;
use crate::server::{Level, SERVER_LOG};

impl Connection {
    /// Whether bytes cannot be sent because they would come before the answer. A handler that
    /// answers by itself would do this, and HTTP/2 and HTTP/3 do not allow it. If so, resets the
    /// stream.
    pub(super) fn refuses_early_bytes(&self) -> bool {
        let Some(slot) = self.answer_slot.as_ref().filter(|slot| slot.is_empty()) else {
            return false;
        };
        slot.give_up();
        let version = self.protocol();
        self.warn(|| {
            format!(
                "bytes before the server's answer, such as an answer of the handler's own, cannot be \
                 sent over {version}: stream reset"
            )
        });
        true
    }

    /// Logs what the handler does wrong.
    pub(super) fn warn(&self, what: impl FnOnce() -> String) {
        if let Some(events) = &self.settings.events {
            let line = || format!("Handler of {}: {}", self.resource, what());
            events.line(Level::Warning, SERVER_LOG, line);
        }
    }
}
