//! Paths below a project's folder.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A normalized relative path in UTF-8: parts joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectPath(String);

/// Why a text is no path below the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no part in it.
    #[error("the path is empty")]
    Empty,
    /// It begins with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// A part is `..`.
    #[error("the path climbs out by `..`")]
    Parent,
    /// It holds a NUL or a line break, which no tool handles well.
    #[error("the path holds a control character")]
    Control,
    /// It is, or lies in, the state folder.
    #[error("the path lies in the state folder `.cairn`")]
    StateFolder,
    /// It is longer than the system's limit.
    #[error("the path is longer than 4096 bytes, or a part of it than 255")]
    TooLong,
}

impl PathError {
    /// Says what to write instead.
    pub fn help(self) -> &'static str {
        match self {
            Self::Empty => "name a file or folder relative to the pipeline's `workdir`",
            Self::Absolute | Self::Parent => {
                "paths are relative to the pipeline's `workdir` and stay below it; move the file into the project"
            }
            Self::Control => "rename the file",
            Self::StateFolder => "`.cairn` belongs to cairn; choose another folder",
            Self::TooLong => "choose a shorter path",
        }
    }
}

impl ProjectPath {
    /// Normalizes `text`: `./a//b/` becomes `a/b`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(PathError::Parent);
        }
        match parts.first() {
            None => return Err(PathError::Empty),
            Some(first) if first.eq_ignore_ascii_case(".cairn") => return Err(PathError::StateFolder),
            Some(_) => {}
        }
        let joined = parts.join("/");
        if joined.len() > 4096 || parts.iter().any(|part| part.len() > 255) {
            return Err(PathError::TooLong);
        }
        Ok(Self(joined))
    }

    /// Returns the text, with `/` between the parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path below `folder`.
    pub fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// Returns whether this path lies in `folder`, at any depth; a path does not lie in itself.
    pub fn is_in(&self, folder: &Self) -> bool {
        self.0.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns `self/name`.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        Self::parse(&format!("{}/{name}", self.0))
    }

    /// Returns the folder that holds it, `None` for one at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }
}

impl TryFrom<String> for ProjectPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<ProjectPath> for String {
    fn from(path: ProjectPath) -> Self {
        path.0
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_and_refuses() {
        let check = |text: &str, expect: Result<&str, PathError>| {
            assert_eq!(
                ProjectPath::parse(text).as_ref().map(ProjectPath::as_str),
                expect.as_ref().copied(),
                "{text}"
            );
        };
        check("a", Ok("a"));
        check("./a//b/./c/", Ok("a/b/c"));
        check("", Err(PathError::Empty));
        check("./", Err(PathError::Empty));
        check("/a", Err(PathError::Absolute));
        check("a/../../b", Err(PathError::Parent));
        check("a\0b", Err(PathError::Control));
        check(".cairn/store", Err(PathError::StateFolder));
        check(".Cairn", Err(PathError::StateFolder));
        check(&"x".repeat(256), Err(PathError::TooLong));
    }

    #[test]
    fn containment_goes_by_whole_parts() {
        let path = |text| ProjectPath::parse(text).unwrap();
        assert!(path("a/b/c").is_in(&path("a")));
        assert!(!path("ab/c").is_in(&path("a")));
        assert!(!path("a").is_in(&path("a")));
    }
}
