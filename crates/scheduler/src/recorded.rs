//! What an execution was made of, read back from the bytes that its input-hash was taken of.

use std::collections::BTreeMap;

use cairn_model::{Command, DecodeError, Part, Value, decode};

/// What a preimage says, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The program and the arguments before the text, where it is one for a shell.
    pub shell: Vec<String>,
    /// The text, or the words of the command.
    pub command: Vec<String>,
    /// `env` and `pass_env`, `None` for one that was unset.
    pub environment: Vec<(String, Option<String>)>,
    /// Commands whose version counts, with what they printed.
    pub tools: Vec<(String, String)>,
    /// By name and subject, which tell inputs apart.
    pub inputs: BTreeMap<(String, String), Input>,
    /// A text whose only use is to change the hash.
    pub salt: Option<String>,
}

/// What an input was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The word for what it was.
    pub kind: String,
    /// The digest of what was in it.
    pub digest: Option<String>,
    /// What it said, where it is no file.
    pub value: Option<String>,
}

impl Recipe {
    /// Reads a stored preimage; parts that a later version may add are passed over.
    ///
    /// # Errors
    /// The bytes are no preimage.
    pub fn read(preimage: &[u8]) -> Result<Self, DecodeError> {
        let mut recipe = Self::default();
        for Part { tags, value } in decode(preimage)? {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            match tags.as_slice() {
                ["shell", ..] => recipe.shell.extend(shown(&value)),
                ["command", ..] => recipe.command.extend(shown(&value)),
                ["salt"] => recipe.salt = shown(&value),
                ["env" | "pass-env", name] => recipe.environment.push(((*name).to_owned(), shown(&value))),
                ["tools", name] => {
                    recipe.tools.push(((*name).to_owned(), shown(&value).unwrap_or_default()));
                }
                ["inputs", name, subject, part] => {
                    let input = recipe.inputs.entry(((*name).to_owned(), (*subject).to_owned())).or_default();
                    match *part {
                        "kind" => input.kind = shown(&value).unwrap_or_default(),
                        "content" => input.digest = shown(&value),
                        "value" | "printed" => input.value = shown(&value),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(recipe)
    }

    /// Returns the command.
    pub fn command(&self) -> Command {
        match self.command.as_slice() {
            [script] if !self.shell.is_empty() => {
                Command::Shell { shell: self.shell.clone(), script: script.clone() }
            }
            argv => Command::Argv(argv.to_vec()),
        }
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Absent | Value::Empty => None,
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Digest(digest) => Some(digest.to_string()),
        Value::Boolean(_) | Value::Integer(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{Domain, InputKey, RecipeInput};

    #[test]
    fn a_preimage_is_read_back() {
        let key = |name: &str, subject: &str| InputKey { name: name.into(), subject: subject.into() };
        let digest = Domain::File.digest(b"x");
        let recipe = cairn_model::Recipe {
            command: Command::Shell { shell: vec!["sh".into(), "-c".into()], script: "cat a > b".into() },
            env: [("A".to_owned(), "1".to_owned())].into(),
            pass_env: [("HOME".to_owned(), None)].into(),
            tools: [("awk".to_owned(), b"mawk 1.3".to_vec())].into(),
            inputs: [
                (key("raw", "a"), RecipeInput::File { digest, executable: false, link: None }),
                (key("", "USER"), RecipeInput::Environment(Some("me".into()))),
                (key("", "gone"), RecipeInput::Missing),
            ]
            .into(),
            outputs: BTreeMap::new(),
            salt: Some("2".into()),
            platform: "linux-x86_64".into(),
            effect: None,
            records: None,
        };
        let read = Recipe::read(&recipe.encode()).unwrap();
        assert_eq!(read.command(), recipe.command);
        assert_eq!(read.environment, [("A".into(), Some("1".into())), ("HOME".into(), None)]);
        assert_eq!(read.tools, [("awk".into(), "mawk 1.3".into())]);
        assert_eq!(read.salt.as_deref(), Some("2"));
        let input = |name: &str, subject: &str| &read.inputs[&(name.to_owned(), subject.to_owned())];
        assert_eq!(input("raw", "a").digest, Some(digest.to_string()));
        assert_eq!(input("", "USER").value.as_deref(), Some("me"));
        assert_eq!(input("", "gone").kind, "missing");

        let argv = cairn_model::Recipe { command: Command::Argv(vec!["awk".into(), "-f".into()]), ..recipe };
        assert_eq!(Recipe::read(&argv.encode()).unwrap().command(), argv.command);
    }
}
