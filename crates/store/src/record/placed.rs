//! What cairn put in the project, so that a file that it did not put there is never overwritten (I11).

use cairn_model::{Digest, InputHash, InstanceName, Name};

use super::{Damage, Record, from_postcard, names, to_postcard};

/// An output that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Digest of the file or of the folder's tree.
    pub content_digest: Digest,
    /// The pipeline whose output it is.
    pub pipeline: Name,
    /// The instance whose output it is.
    pub instance: InstanceName,
    /// The input-hash of the result it belongs to.
    pub input_hash: InputHash,
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::file_row::v1::Stamp;
    use crate::record::names::v1::{Digest, InstanceName};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Placed<'a> {
        pub(super) content_digest: Digest,
        /// A part of the format that is neither written nor read.
        pub(super) file: Option<PlacedFile>,
        #[serde(borrow)]
        pub(super) pipeline: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) instance: InstanceName<'a>,
        pub(super) input_hash: Digest,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct PlacedFile {
        pub(super) device: u64,
        pub(super) inode: u64,
        pub(super) stamp: Stamp,
    }
}

impl Record for Placed {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { content_digest, pipeline, instance, input_hash } = self;
        to_postcard(&v1::Placed {
            content_digest: *content_digest.as_bytes(),
            file: None,
            pipeline: pipeline.as_str().into(),
            instance: instance.into(),
            input_hash: names::stored_input_hash(input_hash),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Placed { content_digest, file: _, pipeline, instance, input_hash } =
                    from_postcard(body)?;
                Ok(Self {
                    content_digest: Digest::from_bytes(content_digest),
                    pipeline: names::name(&pipeline)?,
                    instance: instance.try_into()?,
                    input_hash: names::input_hash(input_hash),
                })
            }
            version => Err(Damage::Version { version }),
        }
    }
}
