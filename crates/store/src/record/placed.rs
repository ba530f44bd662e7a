//! What cairn put in the project, so that a file that it did not put there is never overwritten (I11).

use cairn_model::{Digest, InputHash, InstanceName, Name};

use super::{Damage, Record, from_postcard, names, to_postcard};
use crate::{FileKey, Stamp};

/// An output that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Digest of the file or of the folder's tree.
    pub content_digest: Digest,
    /// The file as it stood afterwards; `None` for a folder.
    pub file: Option<PlacedFile>,
    /// The pipeline whose output it is.
    pub pipeline: Name,
    /// The instance whose output it is.
    pub instance: InstanceName,
    /// The input-hash of the result it belongs to.
    pub input_hash: InputHash,
}

/// A placed file's identity and stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlacedFile {
    /// Which file.
    pub key: FileKey,
    /// What `stat` said.
    pub stamp: Stamp,
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::file_row::v1::Stamp;
    use crate::record::names::v1::{Digest, InstanceName};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Placed<'a> {
        pub(super) content_digest: Digest,
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
        let Self { content_digest, file, pipeline, instance, input_hash } = self;
        let file = file.map(|PlacedFile { key: FileKey { device, inode }, stamp }| v1::PlacedFile {
            device,
            inode,
            stamp: stamp.into(),
        });
        to_postcard(&v1::Placed {
            content_digest: *content_digest.as_bytes(),
            file,
            pipeline: pipeline.as_str().into(),
            instance: instance.into(),
            input_hash: names::stored_input_hash(input_hash),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Placed { content_digest, file, pipeline, instance, input_hash } =
                    from_postcard(body)?;
                let file = file.map(|v1::PlacedFile { device, inode, stamp }| PlacedFile {
                    key: FileKey { device, inode },
                    stamp: stamp.into(),
                });
                Ok(Self {
                    content_digest: Digest::from_bytes(content_digest),
                    file,
                    pipeline: names::name(&pipeline)?,
                    instance: instance.try_into()?,
                    input_hash: names::input_hash(input_hash),
                })
            }
            version => Err(Damage::Version { version }),
        }
    }
}
