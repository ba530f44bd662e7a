//! What is no TOML, or no text at all.

use insta::assert_snapshot;

use super::{says, shown};

#[test]
fn broken_toml() {
    assert_snapshot!(shown("[stages.a]\nrun = \"echo\n[stages.b\nrun = 'x'\nrun = 'y'\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0101]: invalid basic string
     --> pipeline.toml:2:12
      |
    2 | run = "echo
      |            ^ expected `"`
      |
      = help: close the string with the quote it began with

    error[CRN0101]: unclosed table
     --> pipeline.toml:3:10
      |
    3 | [stages.b
      |          ^ expected `]`
      |
      = help: close the header with `]`

    error: 2 errors in `pipeline.toml`
    "#);
    says(
        "[stages.a]\nrun = 'x'\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:3:9", "`a` is defined twice", "rename it"],
    );
    says(
        "[stages.a]\noutputs = ['a'\n[stages.b]\nrun = 'x'\n",
        &["pipeline.toml:3:1", "close the array before this line"],
    );
    says("[stages.a\nrun = 'x'\n", &["pipeline.toml:1:10", "unclosed table", "close the header with `]`"]);
    says("hello world\n", &["pipeline.toml:1:7", "key with no value", "write `key = value`"]);
    says("[stages.a]\nrun = \"a\\d\"\n", &["pipeline.toml:2:10", "write `\\\\` for a backslash"]);
}

/// A reference to the language's site is no mend.
#[test]
fn every_syntax_error_has_a_mend_of_its_own() {
    for line in ["run == 'x'", "priority = 01", "timeout = 1979-13-01", "run = 'x' 'y'", "run = \"\"\"x", "]"]
    {
        let shown = shown(format!("[stages.a]\n{line}\n"));
        assert!(shown.contains("pipeline.toml:2:") || shown.contains("pipeline.toml:3:1"), "{shown}");
        assert!(!shown.contains("toml.io"), "{shown}");
    }
    let check = |line: &str, parts: &[&str]| says(format!("[stages.a]\n{line}\n"), parts);
    check("run = ", &["pipeline.toml:2:7", "key with no value", "write `key = value`"]);
    check("env = {A}", &["pipeline.toml:2:9", "key with no value", "write `key = value`"]);
    check("env = {A='1', B=}", &["pipeline.toml:2:17", "key with no value"]);
    check("run = 'it's'", &["pipeline.toml:2:11", "a text that holds `'` takes double quotes"]);
    check("run = 'x';", &["pipeline.toml:2:10", "remove it"]);
    check("run = 'x' // y", &["pipeline.toml:2:11", "begin a comment with `#`"]);
    check("run = “x”", &["pipeline.toml:2:7", "take straight quotes"]);
    check("run = 'x'\nrun.y = 'z'", &["pipeline.toml:3:1", "it has a value already"]);
    check("<<<<<<< HEAD", &["pipeline.toml:2:1", "finish the merge"]);
}

/// Where a text is never closed, the place that helps is where it was opened.
#[test]
fn a_text_that_is_never_closed_is_shown_where_it_opens() {
    says("[stages.a]\nrun = \"\"\"\necho\n\n\n", &["pipeline.toml:2:7", "close it with `\"\"\"`"]);
    says("[stages.a]\nrun = '''\necho\n\n\n", &["pipeline.toml:2:7", "close it with `'''`"]);
    // Neither a quote that follows nor one that is escaped opens a text.
    says("[stages.a]\nrun = \"\"\"\"x\" \\\"\"\" \\\\\n", &["pipeline.toml:2:7", "close it with `\"\"\"`"]);
}

/// A control character in a string is no matter of quotes.
#[test]
fn a_control_character_is_named_as_what_it_is() {
    says("[stages.a]\nrun = \"ec\x1b[31mho\"\n", &["pipeline.toml:2:10", "control character", "\\u001b"]);
}

#[test]
fn bytes_that_are_no_text() {
    assert_snapshot!(shown(b"[stages.a]\nrun = \"caf\xe9\"\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0102]: the file is not UTF-8: byte 21, in line 2, is 0xe9
     --> pipeline.toml:2:11
      |
    2 | run = "caf�"
      |           ^ not UTF-8
      |
      = help: save the file as UTF-8, for example by `iconv -f latin1 -t utf-8`

    error: 1 error in `pipeline.toml`
    "#);
    assert_snapshot!(shown(b"[stages.a]\nrun = \"ec\0ho\"\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0103]: the file holds a NUL character at byte 20
     --> pipeline.toml:2:10
      |
    2 | run = "ec␀ho"
      |          ^ a NUL
      |
      = help: is this the pipeline file? a text holds no NUL

    error: 1 error in `pipeline.toml`
    "#);
    says(b"\xff\xfe[\0s\0", &["pipeline.toml:1:1", "not UTF-8", "iconv"]);
    says(
        "[env]\nA = \"\\u0000\"\n[stages.a]\nrun = \"a\\u0000\"\noutputs = [\"a\\u0000\"]\n",
        &["pipeline.toml:2:5", "pipeline.toml:4:7", "pipeline.toml:5:12", "holds a NUL"],
    );
}

#[test]
fn ten_megabytes_on_one_line() {
    let long = "x".repeat(10_000_000);
    for text in [
        format!("[stages.a]\nrun = '{long}'\n"),
        format!("[stages.a]\n{long} = 'x'\n"),
        format!("[stages.a]\nrun = {}\n", "[".repeat(10_000_000)),
        format!("[stages.a]\ninputs = [{}]\n", "'a',".repeat(2_500_000)),
    ] {
        let shown = shown(text);
        assert!(shown.len() < 1000, "the report is long itself: {} bytes", shown.len());
        assert!(shown.contains("pipeline.toml:2:1") && shown.contains("bytes, more than 2097152"), "{shown}");
    }
}

#[test]
fn two_hundred_levels_deep() {
    let (open, close) = ("[".repeat(200), "]".repeat(200));
    says(format!("x = {open}{close}\n"), &["pipeline.toml:1:85", "more than 80 levels deep"]);
    let tables = format!("[stages.a]\nrun = 'x'\nenv = {}1{}\n", "{ a = ".repeat(200), " }".repeat(200));
    says(tables, &["pipeline.toml:3:", "more than 80 levels deep", "no pipeline needs more"]);
    says(format!("[{}]\nx = 1\n", ["a"; 200].join(".")), &["pipeline.toml:1:", "levels deep"]);
    says(format!("{} = 1\n", ["a"; 200].join(".")), &["pipeline.toml:1:1", "levels deep"]);
    says(format!("x = {}\n", "[".repeat(100_000)), &["pipeline.toml:1:", "levels deep"]);
}

#[test]
fn a_file_without_stages() {
    assert_snapshot!(shown(""), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0106]: the file has no stage
     --> pipeline.toml:1:1
      |
    1 |
      | ^
      |
      = help: write for example
              [stages.hello]
              run = "echo hello > hello.txt"
              outputs = ["hello.txt"]

    error: 1 error in `pipeline.toml`
    "#);
    for text in ["\n\n", "# nothing\n", "[pipeline]\nname = 'x'\n", "[stages]\n"] {
        says(text, &["pipeline.toml:1:1", "the file has no stage", "[stages.hello]"]);
    }
}
