//! The subscribers of one topic.

use std::{collections::HashMap, sync::Arc};

use super::message::Compression;
use crate::connection::Transport;

/// One subscriber.
#[derive(Debug, Clone)]
pub(super) struct Subscriber {
    pub(super) transport: Arc<Transport>,
    pub(super) compression: Option<Compression>,
}

/// A number for a connection, as long as it exists.
pub(super) fn id_of(transport: &Arc<Transport>) -> usize {
    Arc::as_ptr(transport) as usize
}

/// The subscribers of one topic. Publishers read the list without a lock; it is copied only if it
/// changes while one does.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    list: Arc<Vec<Subscriber>>,
    indexes: HashMap<usize, usize>,
}

impl Subscribers {
    /// The list at this moment.
    pub(super) fn list(&self) -> Arc<Vec<Subscriber>> {
        self.list.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a connection that is not in the list.
    pub(super) fn add(&mut self, subscriber: Subscriber) {
        self.indexes.insert(id_of(&subscriber.transport), self.list.len());
        Arc::make_mut(&mut self.list).push(subscriber);
    }

    /// Removes a connection. Returns whether it was in the list.
    pub(super) fn remove(&mut self, id: usize) -> bool {
        let Some(index) = self.indexes.remove(&id) else { return false };
        let list = Arc::make_mut(&mut self.list);
        list.swap_remove(index);
        if let Some(moved) = list.get(index) {
            self.indexes.insert(id_of(&moved.transport), index);
        }
        true
    }
}
