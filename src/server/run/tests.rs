//! The job queue with threads of the system. `tests/models` checks it under all schedules.

use std::{sync::Arc, thread, time::Duration};

use super::job_queue::JobQueue;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn gives_jobs_in_order() {
    let queue = JobQueue::default();
    assert!(queue.is_empty());
    assert_eq!(queue.push(1), Ok(()));
    assert_eq!(queue.push(2), Ok(()));
    assert!(!queue.is_empty());
    assert_eq!((queue.pop(), queue.pop_within(LONG), queue.pop()), (Some(1), Some(2), None));
    assert!(queue.is_empty());
}

#[test]
fn gives_back_what_nobody_takes() {
    let queue = JobQueue::default();
    assert_eq!(queue.push_to_idle(1), Err(1));
    assert_eq!(queue.push(2), Ok(()));
    assert_eq!(queue.close(), [2]);
    assert_eq!(queue.push(3), Err(3));
    assert!(queue.is_closed() && queue.is_empty());
    assert_eq!(queue.pop_within(LONG), None);
}

#[test]
fn a_worker_that_waits_gets_the_next_job() {
    let queue = Arc::new(JobQueue::default());
    let worker = thread::spawn({
        let queue = queue.clone();
        move || queue.pop_within(LONG)
    });
    let mut job = 7;
    while let Err(back) = queue.push_to_idle(job) {
        job = back;
        thread::yield_now();
    }
    assert_eq!(worker.join().ok(), Some(Some(7)));
}

#[test]
fn a_worker_that_waits_sees_the_end() {
    let queue = Arc::new(JobQueue::<u8>::default());
    let worker = thread::spawn({
        let queue = queue.clone();
        move || queue.pop_within(LONG)
    });
    queue.close();
    assert_eq!(worker.join().ok(), Some(None));
}
