//! A message to somebody outside, until it has been delivered.

use cairn_model::{Domain, Timestamp};

use super::{Damage, Record, from_postcard, to_postcard};

/// What somebody outside is to be told. It stays until they were, or until it is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who is told.
    pub to: Recipient,
    /// The same each time it is sent: who was told before can tell by it.
    pub key: String,
    /// What they are told.
    pub body: Vec<u8>,
    /// When it was written.
    pub made: Timestamp,
    /// How often it was sent in vain.
    pub tries: u32,
    /// It is not sent again before.
    pub not_before: Timestamp,
    /// What went wrong the last time.
    pub error: Option<String>,
}

/// Who a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// The address that is told of runs.
    Webhook,
    /// The command that is told of runs.
    Command,
    /// Who keeps the lineage.
    Lineage,
    /// An address that is told of runs by mail.
    Mail,
}

/// The id of a message: its time, eight bytes, and the beginning of a digest of who is told what.
pub type MessageId = [u8; 16];

impl Recipient {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Command, Self::Lineage, Self::Mail];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
            Self::Lineage => "lineage",
            Self::Mail => "mail",
        }
    }
}

impl Message {
    /// Returns its id; those of later messages are greater.
    pub fn id(&self) -> MessageId {
        let digest = Domain::NoteKey.digest(format!("message {} {}", self.to.as_str(), self.key).as_bytes());
        let mut id = [0; 16];
        // The sign bit flipped: byte order is the order of time.
        id[..8].copy_from_slice(&(self.made.0.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        id[8..].copy_from_slice(&digest.as_bytes()[..8]);
        id
    }
}

mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::Timestamp;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Message {
        pub(super) to: Recipient,
        pub(super) key: String,
        pub(super) body: Vec<u8>,
        pub(super) made: Timestamp,
        pub(super) tries: u32,
        pub(super) not_before: Timestamp,
        pub(super) error: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Recipient {
        Webhook,
        Command,
        Lineage,
        Mail,
    }
}

impl Record for Message {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        to_postcard(&v1::Message {
            to: match self.to {
                Recipient::Webhook => v1::Recipient::Webhook,
                Recipient::Command => v1::Recipient::Command,
                Recipient::Lineage => v1::Recipient::Lineage,
                Recipient::Mail => v1::Recipient::Mail,
            },
            key: self.key.clone(),
            body: self.body.clone(),
            made: self.made.0,
            tries: self.tries,
            not_before: self.not_before.0,
            error: self.error.clone(),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        if version != 1 {
            return Err(Damage::Version { version });
        }
        let stored: v1::Message = from_postcard(body)?;
        Ok(Self {
            to: match stored.to {
                v1::Recipient::Webhook => Recipient::Webhook,
                v1::Recipient::Command => Recipient::Command,
                v1::Recipient::Lineage => Recipient::Lineage,
                v1::Recipient::Mail => Recipient::Mail,
            },
            key: stored.key,
            body: stored.body,
            made: Timestamp(stored.made),
            tries: stored.tries,
            not_before: Timestamp(stored.not_before),
            error: stored.error,
        })
    }
}
