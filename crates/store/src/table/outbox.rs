//! Messages to the outside, until they have been delivered.

use crate::keys::Family;
use crate::{Batch, Message, ReadError, Store};

impl Store {
    /// Returns the messages that have not been delivered, the oldest first, at most `limit`.
    pub fn messages(&self, limit: usize) -> Result<Vec<Message>, ReadError> {
        self.outbox().take(limit).collect()
    }

    /// Returns all messages that have not been delivered, the oldest first, each read when it is asked for.
    pub fn outbox(&self) -> impl Iterator<Item = Result<Message, ReadError>> {
        self.inner.database.scan::<Message>(Family::Outbox, &[]).map(|row| Ok(row?.1))
    }
}

impl Batch {
    /// Keeps a message, in the place of what was kept of it before.
    pub fn put_message(&mut self, message: &Message) {
        self.put(Family::Outbox, message.id().to_vec(), message);
    }

    /// Forgets a message: it was delivered, or is given up.
    pub fn remove_message(&mut self, message: &Message) {
        self.delete(Family::Outbox, message.id().to_vec());
    }
}
