//! The codes of findings. A code keeps its meaning; one that is no longer used is not given to another finding.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)+

        /// All codes in order, each with a sentence on it.
        pub const ALL: &[(&str, &str)] = &[$(($name, concat!($($doc),+).trim_ascii_start())),+];
    };
}

codes! {
    /// The file is no TOML.
    TOML_SYNTAX = "CRN0101";
    /// The file is not UTF-8.
    NOT_UTF8 = "CRN0102";
    /// The file holds a NUL character, as a byte or as an escape.
    NUL = "CRN0103";
    /// The file has more than 12 MiB, or a line of it more than 2 MiB.
    TOO_LARGE = "CRN0104";
    /// Values are nested more than 80 levels deep.
    TOO_DEEP = "CRN0105";
    /// The file has no stage.
    NO_STAGES = "CRN0106";

    /// A key that cairn does not know.
    UNKNOWN_KEY = "CRN0201";
    /// A key that another tool uses for something cairn calls otherwise.
    FOREIGN_KEY = "CRN0202";
    /// A key or value of a later version.
    NOT_YET = "CRN0203";
    /// A value of the wrong type.
    WRONG_TYPE = "CRN0204";
    /// A value of the right type that is not allowed.
    BAD_VALUE = "CRN0205";
    /// A key that must be there is not.
    MISSING_KEY = "CRN0206";
    /// A name with characters that are not allowed in it.
    BAD_NAME = "CRN0207";
    /// A text that is no duration.
    BAD_DURATION = "CRN0208";
    /// A text that is no size of memory.
    BAD_SIZE = "CRN0209";
    /// `needs` or an input names a stage that does not exist.
    UNKNOWN_STAGE = "CRN0210";
    /// A stage names a pool that does not exist.
    UNKNOWN_POOL = "CRN0211";
    /// A text that is no cron expression, or one that no time matches.
    BAD_CRON = "CRN0212";
    /// A time zone that this machine does not know.
    UNKNOWN_ZONE = "CRN0213";
    /// A text that is no date or time.
    BAD_TIME = "CRN0214";
    /// A schedule or sensor with two keys of which it can have one.
    TWO_TRIGGERS = "CRN0215";

    /// The command line sets a param that does not exist.
    UNKNOWN_PARAM = "CRN0301";
    /// The command line sets a param to a value of another type.
    PARAM_TYPE = "CRN0302";
    /// A param's value is not among its choices.
    PARAM_CHOICE = "CRN0303";
    /// A matrix without values.
    EMPTY_MATRIX = "CRN0304";
    /// The stages have more than 1 000 000 instances in all.
    TOO_MANY_INSTANCES = "CRN0305";
    /// A value stands twice in one list of a matrix.
    REPEATED_VALUE = "CRN0306";

    /// A template that cannot be read.
    TEMPLATE_SYNTAX = "CRN0401";
    /// A template refers to a name that does not exist.
    UNKNOWN_TEMPLATE_NAME = "CRN0402";
    /// A template with a block; only expressions are allowed.
    TEMPLATE_BLOCK = "CRN0403";
    /// A template would put a value into a shell text that a shell might not take as it is.
    UNSAFE_VALUE = "CRN0404";
    /// A template could be read, but not be filled in.
    TEMPLATE_FAILED = "CRN0405";
    /// A template refers to a name that exists but means nothing in this place.
    NAME_NOT_HERE = "CRN0406";
    /// A command is longer than the system allows.
    COMMAND_TOO_LONG = "CRN0407";

    /// A path that is absolute, climbs out of the project, or lies in the state folder.
    BAD_PATH = "CRN0501";
    /// Links on a path lead out of the project or to each other.
    LINK = "CRN0502";
    /// An input or output is a FIFO, a socket or a device.
    SPECIAL_FILE = "CRN0503";
    /// A path could not be looked at, or a pattern meets a name that no path has.
    UNREADABLE = "CRN0504";
    /// A text that is no pattern.
    BAD_GLOB = "CRN0505";
    /// An input is neither on disk nor made by a stage.
    MISSING_INPUT = "CRN0506";
    /// A pattern matches no file on disk and none that a stage makes.
    EMPTY_GLOB = "CRN0507";
    /// An output is the pipeline file or lies in it, or is the program its own stage runs.
    RESERVED_OUTPUT = "CRN0508";
    /// `workdir` names no folder that is there.
    NO_WORKDIR = "CRN0509";

    /// Two instances write the same path.
    TWO_WRITERS = "CRN0601";
    /// Two outputs, or an input and an output, differ in letter case only.
    CASE_CLASH = "CRN0602";
    /// An output lies in another output.
    NESTED_OUTPUTS = "CRN0603";
    /// An instance reads what it writes.
    SELF_DEPENDENCY = "CRN0604";
    /// Instances wait for each other.
    CYCLE = "CRN0605";
    /// There are more than 10 000 000 dependencies.
    TOO_MANY_DEPENDENCIES = "CRN0606";
    /// Two instances have effects with the same key.
    SAME_EFFECT = "CRN0607";

    /// A param that nothing refers to.
    UNUSED_PARAM = "CRN0701";
    /// A stage asks for more processors than this machine has.
    MORE_CPUS = "CRN0702";
    /// A scheduled stage reads its interval, but no output names it.
    INTERVAL_UNNAMED = "CRN0703";
    /// Two stages load records into the same table.
    SAME_TABLE = "CRN0704";
    /// Pipelines are run after each other in a circle.
    AFTER_CIRCLE = "CRN0705";
}
