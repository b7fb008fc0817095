//! Listening to what the system in the guest says of itself.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Session, Shared};
use crate::{devices::virtio::vsock::Listener, readiness::Lines};

/// Takes the guest's messages, a connection a message.
struct Messages {
    shared: Arc<Shared>,
    /// By the guest's ports; the device bounds how many there are.
    open: BTreeMap<u32, Lines>,
}

impl Session {
    /// Who listens to the guest: to be called at [`crate::readiness::PORT`].
    pub fn listener(&self) -> Box<dyn Listener> {
        Box::new(Messages { shared: Arc::clone(&self.shared), open: BTreeMap::new() })
    }
}

impl Listener for Messages {
    fn heard(&mut self, caller: u32, bytes: &[u8]) {
        let shared = &self.shared;
        let lines = self.open.entry(caller).or_default();
        lines.feed(bytes, &mut |notice| shared.noticed(notice));
    }

    fn ended(&mut self, caller: u32) {
        if let Some(mut lines) = self.open.remove(&caller) {
            lines.end(&mut |notice| self.shared.noticed(notice));
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
