//! In place of `src/connection`, for the files of it that are compiled: what they import.

use std::fmt;

use crate::{locks::lock, sync::Mutex};

/// A cell that is written once. It lets other threads run before each access.
pub(crate) struct OnceLock<T> {
    access: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self { access: Mutex::default(), value: std::sync::OnceLock::new() }
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        let _access = lock(&self.access);
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _access = lock(&self.access);
        self.value.set(value)
    }
}

pub(crate) mod byte_stream {
    pub(crate) trait ByteStream: super::fmt::Debug + Send + Sync {}
}

pub(crate) mod reactor {
    use std::sync::Arc;

    use super::{byte_stream::ByteStream, lock, Mutex};

    /// The number of a registration.
    pub(crate) type ReactorToken = usize;

    /// A reactor, which knows its registrations until they end.
    #[derive(Debug, Default)]
    pub(crate) struct Remote {
        /// For each registration, whether it has ended.
        ended: Mutex<Vec<bool>>,
    }

    impl Remote {
        pub(crate) fn knows(&self, token: ReactorToken) -> bool {
            token < lock(&self.ended).len()
        }

        pub(crate) fn live(&self) -> usize {
            lock(&self.ended).iter().filter(|ended| !**ended).count()
        }

        fn end(&self, token: ReactorToken) {
            lock(&self.ended)[token] = true;
        }
    }

    #[derive(Debug)]
    pub(crate) struct Registration {
        token: ReactorToken,
        remote: Arc<Remote>,
    }

    impl Registration {
        pub(crate) fn new(remote: &Arc<Remote>) -> Self {
            let mut ended = lock(&remote.ended);
            ended.push(false);
            Self { token: ended.len() - 1, remote: remote.clone() }
        }

        pub(crate) fn token(&self) -> ReactorToken {
            self.token
        }

        pub(crate) fn is_in(&self, reactor: &Arc<Remote>) -> bool {
            Arc::ptr_eq(&self.remote, reactor)
        }

        pub(crate) fn end(&self, _socket: Option<&Arc<dyn ByteStream>>) {
            self.remote.end(self.token);
        }
    }

    impl Drop for Registration {
        fn drop(&mut self) {
            self.remote.end(self.token);
        }
    }
}
