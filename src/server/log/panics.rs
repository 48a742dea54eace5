//! Reports panics, which are mistakes of the server itself, in the log and in the metrics. The
//! owner of the task decides how to go on.

use std::{
    any::Any,
    future::{poll_fn, Future},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex, Once, Weak,
    },
    task::Poll,
};

use super::event::{EventSink, Level, SERVER_LOG};
use crate::locks::{lock, try_lock};

static COUNT: AtomicU64 = AtomicU64::new(0);
/// The logs of all servers of this process: a panic does not tell which server it belongs to.
static SINKS: Mutex<Vec<Weak<EventSink>>> = Mutex::new(Vec::new());

/// How many panics there were in this process.
pub(in crate::server) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Has every panic reported to this log, as long as it exists, instead of to standard error.
pub(in crate::server) fn report_to(events: &Arc<EventSink>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            if !report(info) {
                before(info);
            }
        }));
    });
    let mut sinks = lock(&SINKS);
    sinks.retain(|sink| sink.strong_count() > 0);
    sinks.push(Arc::downgrade(events));
}

/// Writes a line to every log. Returns `false` if there is none.
fn report(info: &PanicHookInfo<'_>) -> bool {
    // the thread that panics may hold the lock
    let Some(sinks) = try_lock(&SINKS) else { return false };
    let mut has_told = false;
    for events in sinks.iter().filter_map(Weak::upgrade) {
        events.line(Level::Error, SERVER_LOG, || {
            let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
            format!("Internal error{place}: {}; please report it", message(info.payload()))
        });
        has_told = true;
    }
    has_told
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Runs a future. Returns `None` if it panics.
pub(in crate::server) async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // after a panic the future is not polled again, and only it has seen what it changed
        match panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log::event::Event;

    #[test]
    fn a_panic_is_caught_logged_and_counted() {
        let (events, receiver) = EventSink::channel();
        let events = Arc::new(events);
        report_to(&events);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let before = count();
        for text in ["one", "two"] {
            let caught = runtime.block_on(caught(async {
                tokio::task::yield_now().await;
                assert!(text.is_empty(), "no {text}");
            }));
            assert_eq!(caught, None);
        }
        assert_eq!(runtime.block_on(caught(async { 7 })), Some(7));
        // other tests may panic on purpose at the same time
        assert!(count() >= before + 2);
        let lines: Vec<_> = receiver
            .try_iter()
            .filter_map(|event| match event {
                Event::Line { level: Level::Error, text, .. } => Some(text),
                _ => None,
            })
            .filter(|text| text.contains("panics.rs:"))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("Internal error at src/server/log/panics.rs:"), "{lines:?}");
        assert!(lines[1].ends_with(": no two; please report it"), "{lines:?}");
    }
}
