//! A record in a person's editor.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::process::Command;

use cairn_scheduler::json_text;
use cairn_store::DeadLetter;

use crate::exit::ExitStatus;
use crate::failure::Failure;

/// The editor where neither `VISUAL` nor `EDITOR` names one.
const EDITOR: &str = "vi";

/// Has a person edit a record; `None` when it was left as it is. A text that is no JSON object is kept, in the file that the
/// error names.
pub(super) fn edit(letter: &DeadLetter) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |what: String, error: &std::io::Error| {
        Failure::new(ExitStatus::StageFailed, what).because_of(Some(error))
    };
    // Laid out for a person; taken in again it is one line.
    let payload = letter.payload_to_retry();
    let before = json_text::laid_out(payload).map_or_else(|| payload.to_vec(), String::into_bytes);
    let path =
        std::env::temp_dir().join(format!("cairn-{}-{}.json", letter.id().short(), std::process::id()));
    let mut file =
        private(&path).map_err(|error| failed(format!("cannot make `{}`", path.display()), &error))?;
    let written = file.write_all(&before).and_then(|()| file.write_all(b"\n"));
    written.map_err(|error| failed(format!("cannot write `{}`", path.display()), &error))?;
    drop(file);

    let named = |name: &str| std::env::var_os(name).filter(|editor| !editor.is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| EDITOR.into());
    // It may be a command with arguments.
    let mut script = OsString::from(&editor);
    script.push(" \"$1\"");
    let ended = Command::new("/bin/sh").arg("-c").arg(script).arg("cairn").arg(&path).status();
    let shown = editor.to_string_lossy();
    match ended {
        Ok(ended) if ended.success() => {}
        Ok(ended) => {
            let _ = fs::remove_file(&path);
            let text = format!("the editor `{shown}` ended with {ended}; nothing is changed");
            return Err(Failure::new(ExitStatus::StageFailed, text));
        }
        Err(error) => return Err(failed(format!("cannot run the editor `{shown}`"), &error)),
    }
    let text =
        fs::read(&path).map_err(|error| failed(format!("cannot read `{}`", path.display()), &error))?;
    let text = text.trim_ascii();
    if text == before.trim_ascii() {
        let _ = fs::remove_file(&path);
        return Ok(None);
    }
    let is_object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text);
    is_object.map_err(|error| {
        Failure::new(ExitStatus::StageFailed, format!("what was written is not one JSON object: {error}"))
            .note(format!("it is kept in `{}`", path.display()))
            .help("mend it there, and give it as the new text when you edit again")
    })?;
    let _ = fs::remove_file(&path);
    // What is one line already stays as it is.
    let joined = if text.contains(&b'\n') { json_text::on_one_line(text) } else { None };
    Ok(Some(joined.map_or_else(|| text.to_vec(), String::into_bytes)))
}

fn private(path: &std::path::Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    // One that is there already, or a link that another put there, is not written to.
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
