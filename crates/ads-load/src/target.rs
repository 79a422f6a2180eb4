//! What a change is expected to bring, and who has got it when.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::Notify;
use xds_wire::ResourceType;

/// One resource that every stream is to receive.
pub struct Target {
    pub kind: ResourceType,
    pub name: String,
    /// Resources whose name holds this belong to the change as well.
    pub part: String,
    receipts: Mutex<Vec<Option<Instant>>>,
    changed: Notify,
    /// Resources that have nothing to do with the change.
    pub others: AtomicU64,
    /// The size of the resource with its name and version.
    pub size: AtomicU64,
}

impl Target {
    /// Nothing received yet.
    pub fn new(kind: ResourceType, name: String, part: String, streams: usize) -> Self {
        Self {
            kind,
            name,
            part,
            receipts: Mutex::new(vec![None; streams]),
            changed: Notify::new(),
            others: AtomicU64::new(0),
            size: AtomicU64::new(0),
        }
    }

    /// A stream has received a resource.
    pub fn received(&self, stream: usize, kind: ResourceType, name: &str, size: usize, now: Instant) {
        if kind == self.kind && name == self.name {
            self.size.store(size as u64, Ordering::Relaxed);
            let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(receipt) = receipts.get_mut(stream) {
                receipt.get_or_insert(now);
            }
            self.changed.notify_one();
        } else if !name.contains(&self.part) {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Resolves when all streams have it.
    pub async fn complete(&self) {
        while self.receipts().iter().any(Option::is_none) {
            self.changed.notified().await;
        }
    }

    /// When each stream has got it.
    pub fn receipts(&self) -> Vec<Option<Instant>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
