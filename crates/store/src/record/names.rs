//! Names, ids and digests as they stand within stored values.

pub(super) mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    pub(in crate::record) type Digest = [u8; 32];
    pub(in crate::record) type RunId = [u8; 16];
    /// Milliseconds since 1970.
    pub(in crate::record) type Timestamp = i64;

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct InstanceName<'a> {
        #[serde(borrow)]
        pub(in crate::record) stage: Cow<'a, str>,
        #[serde(borrow)]
        pub(in crate::record) coordinates: Option<Cow<'a, str>>,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct AttemptId<'a> {
        pub(in crate::record) run: RunId,
        #[serde(borrow)]
        pub(in crate::record) instance: InstanceName<'a>,
        pub(in crate::record) number: u32,
    }
}

use cairn_model::{AttemptId, Digest, InputHash, InstanceName, Name, RunId};

use super::Damage;

pub(super) fn name(stored: &str) -> Result<Name, Damage> {
    stored.parse().map_err(|_| Damage::Body { what: "a name is not one" })
}

pub(super) fn input_hash(stored: v1::Digest) -> InputHash {
    InputHash::from_digest(Digest::from_bytes(stored))
}

pub(super) fn stored_input_hash(hash: &InputHash) -> v1::Digest {
    *hash.digest().as_bytes()
}

impl<'a> From<&'a InstanceName> for v1::InstanceName<'a> {
    fn from(name: &'a InstanceName) -> Self {
        Self { stage: name.stage().as_str().into(), coordinates: name.coordinates().map(Into::into) }
    }
}

impl TryFrom<v1::InstanceName<'_>> for InstanceName {
    type Error = Damage;

    fn try_from(stored: v1::InstanceName<'_>) -> Result<Self, Damage> {
        let v1::InstanceName { stage, coordinates } = stored;
        Ok(Self::new(name(&stage)?, coordinates.map(Into::into)))
    }
}

impl<'a> From<&'a AttemptId> for v1::AttemptId<'a> {
    fn from(id: &'a AttemptId) -> Self {
        let AttemptId { run, instance, number } = id;
        Self { run: *run.as_bytes(), instance: instance.into(), number: *number }
    }
}

impl TryFrom<v1::AttemptId<'_>> for AttemptId {
    type Error = Damage;

    fn try_from(stored: v1::AttemptId<'_>) -> Result<Self, Damage> {
        let v1::AttemptId { run, instance, number } = stored;
        Ok(Self { run: RunId::from_bytes(run), instance: instance.try_into()?, number })
    }
}
