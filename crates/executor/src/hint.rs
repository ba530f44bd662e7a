//! Why a command may have failed: it looked for a file of the project that it did not declare.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use cairn_dag::Instance;
use cairn_model::ProjectPath;

use crate::gather::Gathered;
use crate::project::Project;

/// Bytes at the end of a log that are searched.
const TAIL: u64 = 64 * 1024;

/// Names a file that stands in the project, is named by the command or in the end of its log, and is no input.
pub(crate) fn undeclared_input(
    project: &Project,
    instance: &Instance,
    gathered: &Gathered,
    log: &Path,
) -> Option<String> {
    let said = tail(log).unwrap_or_default();
    let argv = instance.command.argv();
    let texts = std::iter::once(said.as_str()).chain(argv);
    let words: BTreeSet<&str> = texts.flat_map(|text| text.split(separates)).collect();
    let undeclared = words.into_iter().find_map(|word| {
        let path = ProjectPath::parse(word.trim_end_matches(['.', ':'])).ok()?;
        let declared = gathered
            .files
            .iter()
            .any(|input| input.path == path || path.is_in(&input.path) || input.path.is_in(&path));
        let made = instance
            .outputs
            .iter()
            .any(|output| output.path == path || path.is_in(&output.path) || output.path.is_in(&path));
        (!declared && !made && project.on_disk(&path).is_file()).then_some(path)
    })?;
    Some(format!(
        "`{undeclared}` is in the project and not declared, so the command cannot see it: add `\"{undeclared}\"` to the \
         `inputs` of stage `{}`",
        instance.name.stage()
    ))
}

/// What stands around a path in a shell text or a message.
fn separates(character: char) -> bool {
    character.is_whitespace() || "'\"`‘’“”()<>|;&$={}[],:".contains(character)
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
