//! What stands in an output's place: may it go, or is it a person's? (I11)

use std::path::Path;

use cairn_content::{Digests, Objects};
use cairn_model::{Digest, EntryKind, FileContent, Tree};
use cairn_store::Store;

/// Returns whether nothing is lost when `stands` is replaced: the bytes of all its files are in the content store, and it
/// is a tree that is `known` to be of a result, or has nothing in it but files.
pub(crate) fn is_ours(stands: &Path, known: &[Digest], digests: &Digests, objects: &Objects) -> bool {
    let contained = |file: &FileContent| objects.contains(&file.digest, file.size);
    if stands.is_symlink() {
        return false;
    }
    if stands.is_dir() {
        digests.tree(stands).is_ok_and(|found| {
            found.tree.files().all(|(_, file)| contained(file))
                && (has_only_files(&found.tree) || known.contains(&found.tree.digest()))
        })
    } else {
        digests.file(stands).is_ok_and(|found| contained(&found.content))
    }
}

/// Returns whether there is neither a link nor an empty folder in `tree`: the content store has files alone.
fn has_only_files(tree: &Tree) -> bool {
    tree.entries.iter().enumerate().all(|(at, entry)| match &entry.kind {
        EntryKind::File(_) => true,
        EntryKind::Link(_) => false,
        EntryKind::Folder => {
            // Others may stand between a folder and what is in it: `a`, `a-b`, `a/c`.
            let after = tree.entries[at + 1..].iter();
            let mut with_its_name = after.map_while(|next| next.path.strip_prefix(&*entry.path));
            with_its_name.any(|rest| rest.starts_with(b"/"))
        }
    })
}

/// Returns the digests of the folders that cairn is known to have put where `stands` is, if that is a folder: what was
/// placed last under the store's `key`, and what else was a result of the same instance. Where the store does not tell,
/// there are none, and more goes to the trash than need be.
pub(crate) fn known_trees(store: &Store, key: &str, stands: &Path) -> Vec<Digest> {
    if !stands.is_dir() {
        return Vec::new();
    }
    let Ok(Some(placed)) = store.placed(key) else { return Vec::new() };
    let mut known = vec![placed.content_digest];
    for hash in store.latest(&placed.pipeline, &placed.instance).unwrap_or_default() {
        let Ok(Some(checkpoint)) = store.checkpoint(&hash) else { continue };
        known.extend(checkpoint.manifest.outputs.iter().map(|output| output.content.digest()));
    }
    known
}
