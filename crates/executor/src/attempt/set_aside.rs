//! Outputs that stood in the project when a command began that runs there itself.

use super::{AttemptError, Done, Prepared};
use crate::committer::shown;
use crate::engine::{Engine, Kept};
use crate::ours::{is_ours, known_trees};
use crate::staging::put_back;

impl Engine {
    /// With `sandbox = "off"`: after a success, what stood in the outputs' places and is kept nowhere else goes to the
    /// trash; after a failure it stands there again. Returns whether that worked: otherwise the attempt stays open, and
    /// the next run tries again.
    pub(super) fn settle_aside(
        &self,
        result: Result<Done, AttemptError>,
        prepared: &Prepared,
    ) -> (Result<Done, AttemptError>, bool) {
        let before = prepared.staging.before();
        let settled = match result {
            Ok(mut done) => {
                let Kept { store, objects, .. } = self.kept();
                for path in &prepared.set_aside {
                    let aside = path.below(&before);
                    let known = known_trees(store, path.as_str(), &aside);
                    if is_ours(&aside, &known, &self.digests, objects) {
                        continue;
                    }
                    let run = self.run.to_string();
                    match cairn_content::trash::move_to_trash(self.project.state(), &run, &before, path) {
                        Ok(moved) => done.trashed.push(shown(&moved, self.project.root())),
                        Err(error) => {
                            tracing::error!(%error, before = %before.display(), "cannot move what stood there");
                            return (Ok(done), false);
                        }
                    }
                }
                (Ok(done), true)
            }
            Err(error) => match put_back(&self.project, &before, &prepared.set_aside, None) {
                Ok(()) => (Err(error), true),
                Err(cause) => {
                    tracing::error!(%cause, before = %before.display(), "cannot put back the outputs of before");
                    return (Err(error), false);
                }
            },
        };
        self.spares().remove(&prepared.staging);
        settled
    }
}
