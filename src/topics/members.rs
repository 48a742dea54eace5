//! The subscribers of one topic.

use std::{collections::HashMap, sync::Arc};

use super::message::Compression;
use crate::connection::Transport;

/// One subscriber.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) transport: Arc<Transport>,
    pub(super) compression: Option<Compression>,
}

/// A number for a connection, as long as it exists.
pub(super) fn key(transport: &Arc<Transport>) -> usize {
    Arc::as_ptr(transport) as usize
}

/// The subscribers of one topic. Publishers read the list without a lock; it is copied only if it
/// changes while one does.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Arc<Vec<Member>>,
    places: HashMap<usize, usize>,
}

impl Members {
    /// The list at this moment.
    pub(super) fn list(&self) -> Arc<Vec<Member>> {
        self.list.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a connection that is not in the list.
    pub(super) fn add(&mut self, member: Member) {
        self.places.insert(key(&member.transport), self.list.len());
        Arc::make_mut(&mut self.list).push(member);
    }

    /// Removes a connection. Returns whether it was in the list.
    pub(super) fn remove(&mut self, key_of_it: usize) -> bool {
        let Some(place) = self.places.remove(&key_of_it) else { return false };
        let list = Arc::make_mut(&mut self.list);
        list.swap_remove(place);
        if let Some(moved) = list.get(place) {
            self.places.insert(key(&moved.transport), place);
        }
        true
    }
}
