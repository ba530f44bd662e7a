//! An attempt that was started and has not ended.

use cairn_model::{InputHash, Timestamp};

use super::{Damage, Record, from_postcard, names, to_postcard};
use crate::ProcessId;

/// An attempt that runs, or was cut off: what recovery needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The input-hash it runs under.
    pub input_hash: InputHash,
    /// Told apart from an attempt of another process: a commit that names another epoch is refused.
    pub epoch: u64,
    /// When it was started; for people.
    pub started: Timestamp,
    /// The cairn process that started it.
    pub process: ProcessId,
    /// Its staging folder, relative to the state folder.
    pub folder: String,
    /// The value of `CAIRN_ATTEMPT_TOKEN` in its environment, by which its processes are found.
    pub token: String,
    /// Outputs that it writes in the project itself (sandbox `off`): project paths.
    pub in_project: Vec<String>,
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, Timestamp};
    use crate::record::process::v1::ProcessId;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Attempt<'a> {
        pub(super) input_hash: Digest,
        pub(super) epoch: u64,
        pub(super) started: Timestamp,
        #[serde(borrow)]
        pub(super) process: ProcessId<'a>,
        #[serde(borrow)]
        pub(super) folder: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) token: Cow<'a, str>,
        pub(super) in_project: Vec<String>,
    }
}

impl Record for Attempt {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { input_hash, epoch, started, process, folder, token, in_project } = self;
        to_postcard(&v1::Attempt {
            input_hash: names::stored_input_hash(input_hash),
            epoch: *epoch,
            started: started.0,
            process: process.into(),
            folder: folder.into(),
            token: token.into(),
            in_project: in_project.clone(),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Attempt { input_hash, epoch, started, process, folder, token, in_project } =
                    from_postcard(body)?;
                Ok(Self {
                    input_hash: names::input_hash(input_hash),
                    epoch,
                    started: Timestamp(started),
                    process: process.into(),
                    folder: folder.into_owned(),
                    token: token.into_owned(),
                    in_project,
                })
            }
            version => Err(Damage::Version { version }),
        }
    }
}
