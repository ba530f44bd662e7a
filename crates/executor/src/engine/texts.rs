//! Texts of small inputs, kept so that a change can be told line by line.

use std::path::Path;

use cairn_content::Objects;
use cairn_model::{Digest, Domain};
use cairn_store::Store;

use super::{Engine, Kept, SOURCE_BYTES_MAX};
use crate::gather::{Gathered, Origin};

impl Engine {
    /// Returns the text of a file that an instance made or read, if it is still stored, is no longer than `size_max` bytes,
    /// and is text.
    pub fn stored_text(&self, digest: &Digest, size_max: u64) -> Option<String> {
        let Kept { store, objects, .. } = self.kept.as_ref()?;
        text_of(store, objects, digest, size_max)
    }

    /// Keeps the texts of small inputs with a result, each once a run, so that `why` can tell a change line by line.
    /// `base` is where the inputs stand.
    pub(crate) fn keep_sources(&self, gathered: &Gathered, base: &Path, batch: &mut cairn_store::Batch) {
        for input in &gathered.files {
            let (Origin::Source(found), size) = (&input.origin, input.content.size()) else { continue };
            let digest = found.content.digest;
            let mut known = self.sources.lock().expect("no panic while it is held");
            if size > SOURCE_BYTES_MAX || !known.insert(digest) {
                continue;
            }
            drop(known);
            // One that cannot be read, or changed, is not kept: nothing but an explanation depends on it.
            let Ok(bytes) = std::fs::read(input.path.below(base)) else { continue };
            if std::str::from_utf8(&bytes).is_ok() && Domain::File.digest(&bytes) == digest {
                batch.put_source(digest, &bytes);
            }
        }
    }
}

/// Returns the bytes of a file that an instance made or read, checked against their digest: `None` where they are not kept in
/// the state folder `state`, are damaged, or are more than `bytes_max`.
pub fn stored_bytes(store: &Store, state: &Path, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>> {
    let fits = |size: u64| size <= bytes_max;
    let bytes = if let Ok(Some(small)) = store.definition(digest) {
        small
    } else {
        let path = cairn_content::object_path(state, digest);
        fits(std::fs::metadata(&path).ok()?.len()).then(|| std::fs::read(&path).ok())??
    };
    (fits(bytes.len() as u64) && Domain::File.digest(&bytes) == *digest).then_some(bytes)
}

fn text_of(store: &Store, objects: &Objects, digest: &Digest, size_max: u64) -> Option<String> {
    let fits = |size: u64| size <= size_max;
    if let Ok(Some(source)) = store.definition(digest) {
        return fits(source.len() as u64).then(|| String::from_utf8(source).ok())?;
    }
    let path = objects.path(digest);
    let bytes = fits(std::fs::metadata(&path).ok()?.len()).then(|| std::fs::read(&path).ok())??;
    (Domain::File.digest(&bytes) == *digest).then(|| String::from_utf8(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairn_model::{FixedClock, Timestamp};
    use cairn_store::{Access, Batch, Durability};

    use super::*;
    use crate::rows::StoredObjects;

    #[test]
    fn a_stored_text_that_is_too_long_is_not_told_wherever_it_is_stored() {
        let top = tempfile::tempdir().unwrap();
        let state = top.path().join(".cairn");
        let store = Store::open(&state, Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let objects = Objects::open(&state, Arc::new(StoredObjects(store.clone()))).unwrap();
        let digest = |text: &str| Domain::File.digest(text.as_bytes());
        let mut batch = Batch::new();
        batch.put_source(digest("in the store"), b"in the store");
        let _ = store.commit(batch, Durability::Written).unwrap();
        let object = objects.path(&digest("in a file"));
        std::fs::create_dir_all(object.parent().unwrap()).unwrap();
        std::fs::write(object, "in a file").unwrap();
        for text in ["in the store", "in a file"] {
            let told = |size_max| text_of(&store, &objects, &digest(text), size_max);
            assert_eq!(told(text.len() as u64).as_deref(), Some(text));
            assert_eq!(told(text.len() as u64 - 1), None);
        }
    }
}
