//! The names of pipelines, stages and instances.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pipeline's or a stage's name: `[a-z0-9][a-z0-9_-]{0,63}`, so that it is safe in a path, a URL and a terminal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name")]
pub struct NameError {
    /// What was read.
    pub text: String,
}

impl NameError {
    /// Says what a name looks like, with the nearest that would do.
    pub fn help(&self) -> String {
        let rule = "a name has 1 to 64 of the characters `a-z 0-9 _ -` and begins with a letter or a digit";
        let lower = self.text.to_lowercase();
        let mut mended: String =
            lower.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        mended = mended.trim_matches(['-', '_']).chars().take(Name::LENGTH_MAX).collect();
        if mended.parse::<Name>().is_ok() {
            format!("{rule}: for example `{mended}`")
        } else {
            rule.to_owned()
        }
    }
}

impl Name {
    /// Characters in the longest name.
    pub const LENGTH_MAX: usize = 64;

    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if first && rest && text.len() <= Self::LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// An instance's name: the stage's, and for one of a matrix its coordinates: `by-carrier[UA]`, `grid[2013,UA]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceName {
    stage: Name,
    coordinates: Option<String>,
}

impl InstanceName {
    /// Names the only instance of `stage`, or the one at `coordinates`.
    pub fn new(stage: Name, coordinates: Option<String>) -> Self {
        Self { stage, coordinates }
    }

    /// Returns the stage's name.
    pub fn stage(&self) -> &Name {
        &self.stage
    }

    /// Returns the coordinates, without brackets.
    pub fn coordinates(&self) -> Option<&str> {
        self.coordinates.as_deref()
    }

    /// Returns a text that is safe as a file's name and tells instances of one pipeline apart.
    pub fn slug(&self) -> String {
        let Some(coordinates) = &self.coordinates else { return self.stage.to_string() };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ',');
        if coordinates.len() <= 80 && coordinates.chars().all(plain) {
            return format!("{}.{coordinates}", self.stage);
        }
        let kept: String = coordinates.chars().filter(|c| plain(*c)).take(40).collect();
        let digest = crate::Domain::Index.digest(coordinates.as_bytes()).short();
        format!("{}.{kept}~{digest}", self.stage)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.coordinates {
            None => write!(f, "{}", self.stage),
            Some(coordinates) => write!(f, "{}[{coordinates}]", self.stage),
        }
    }
}

impl fmt::Debug for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "0", "by-carrier", "a_b", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "..", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("By Carrier".parse::<Name>().unwrap_err().help().ends_with("for example `by-carrier`"));
    }

    #[test]
    fn slugs_are_safe_and_distinct() {
        let instance = |text: &str| InstanceName::new("s".parse().unwrap(), Some(text.to_owned()));
        assert_eq!(instance("UA,2013").slug(), "s.UA,2013");
        for hostile in ["../../etc", "a/b", "a\0b", &"x".repeat(500)] {
            let slug = instance(hostile).slug();
            assert!(!slug.contains(['/', '\0']) && slug.len() < 200, "{slug}");
        }
        assert_ne!(instance("a/b").slug(), instance("a:b").slug());
    }
}
