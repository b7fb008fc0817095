//! A device's configuration, as the guest reads it. Virtio 1.2, 2.5.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use super::queue::Interrupt;

/// The configuration and how often it has changed.
#[derive(Debug)]
pub(super) struct Settings {
    bytes: Mutex<Vec<u8>>,
    generation: AtomicU8,
}

/// Who may change it, and tells the guest.
#[derive(Debug)]
pub(super) struct Changer {
    pub(super) settings: Arc<Settings>,
    pub(super) interrupt: Interrupt,
}

impl Settings {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: Mutex::new(bytes.to_vec()), generation: AtomicU8::new(0) }
    }

    /// Gives `see` the bytes from `at` on.
    pub(super) fn read(&self, at: usize, see: impl FnOnce(&[u8])) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        see(bytes.get(at..).unwrap_or_default());
    }

    /// Is another whenever the bytes are. Virtio 1.2, 2.5.1.
    pub(super) fn generation(&self) -> u8 {
        self.generation.load(Ordering::SeqCst)
    }
}

impl Changer {
    /// Replaces the bytes from the first on, as many as there are.
    pub(super) fn change(&self, new: &[u8]) {
        let mut bytes = self.settings.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        for (to, from) in bytes.iter_mut().zip(new) {
            *to = *from;
        }
        self.settings.generation.fetch_add(1, Ordering::SeqCst);
        drop(bytes);
        self.interrupt.raise();
    }
}
