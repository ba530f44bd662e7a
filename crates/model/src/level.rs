//! How far an attempt is kept apart from the rest of the project.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The isolation an attempt really had; a later one is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The command ran in the project's folder.
    Off,
    /// The command ran in a folder of its own that held its declared inputs and nothing else of the project.
    Private,
    /// `Private`, and the kernel refused to open what was not declared.
    Confine,
    /// Namespaces in which nothing but the declared inputs exists.
    Hermetic,
}

impl Level {
    /// Returns the word that stands in a pipeline file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Private => "private",
            Self::Confine => "confine",
            Self::Hermetic => "hermetic",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
