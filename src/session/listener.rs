//! Listening to what the system in the guest says of itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{Session, Shared};
use crate::{
    devices::virtio::vsock::Listener,
    readiness::{Lines, Notice},
    verdict::Watch,
};

/// Takes the guest's messages, a connection a message.
struct Messages {
    shared: Arc<Shared>,
    watch: Arc<Mutex<Watch>>,
    start: Instant,
    /// By the guest's ports; the device bounds how many there are.
    open: BTreeMap<u32, Lines>,
}

impl Session {
    /// Who listens to the guest: to be called at [`crate::readiness::PORT`].
    pub fn listener(&self) -> Box<dyn Listener> {
        Box::new(Messages {
            shared: Arc::clone(&self.shared),
            watch: Arc::clone(&self.stream.watch),
            start: self.limits.start,
            open: BTreeMap::new(),
        })
    }
}

impl Messages {
    fn noticed(&self, notice: Notice) {
        // Seen before it is told, as it is with the console.
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.hear(&notice, self.start.elapsed());
        drop(watch);
        self.shared.noticed(notice);
    }
}

impl Listener for Messages {
    fn heard(&mut self, caller: u32, bytes: &[u8]) {
        let mut lines = self.open.remove(&caller).unwrap_or_default();
        lines.feed(bytes, &mut |notice| self.noticed(notice));
        self.open.insert(caller, lines);
    }

    fn ended(&mut self, caller: u32) {
        if let Some(mut lines) = self.open.remove(&caller) {
            lines.end(&mut |notice| self.noticed(notice));
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
