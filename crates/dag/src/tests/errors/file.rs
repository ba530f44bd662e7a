//! Files that cannot be read as TOML.

use super::*;

#[test]
fn all_errors_of_the_syntax_at_once() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = true story\nname = 'x\nfoo\ncount = 01\n", &[]), @"
    error[CRN0101]: string values must be quoted
     --> pipeline.toml:2:7
      |
    2 | run = true story
      |       ^^^^^^^^^^ expected literal string
      |
      = help: put the text in double quotes

    error[CRN0101]: invalid literal string
     --> pipeline.toml:3:10
      |
    3 | name = 'x
      |          ^ expected `'`
      |
      = help: close the string with the quote it began with

    error[CRN0101]: key with no value
     --> pipeline.toml:4:4
      |
    4 | foo
      |    ^ expected `=`
      |
      = help: write `key = value`

    error: 3 errors in `pipeline.toml`
    ");
}

#[test]
fn a_stage_defined_twice() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = \"true\"\n\n[stages.a]\nrun = \"false\"\n", &[]), @r#"
    error[CRN0101]: `a` is defined twice
     --> pipeline.toml:4:9
      |
    1 | [stages.a]
      |         - first defined here
    ...
    4 | [stages.a]
      |         ^ defined again
      |
      = help: remove one of the two, or rename it

    error[CRN0101]: `run` is defined twice
     --> pipeline.toml:5:1
      |
    5 | run = "false"
      | ^^^ defined again
      |
      = help: remove one of the two, or rename it

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn not_utf8() {
    let bytes = b"[pipeline]\nname = \"caf\xe9\"\n";
    let source = Source { path: "pipeline.toml", bytes };
    let report = load(source, &options(), &Disk::default()).unwrap_err();
    assert_eq!(report.diagnostics[0].place(&source), Some((2, 12)));
    insta::assert_snapshot!(report.render(&source, Style::PLAIN), @r#"
    error[CRN0102]: the file is not UTF-8: byte 22, in line 2, is 0xe9
     --> pipeline.toml:2:12
      |
    2 | name = "caf�"
      |            ^ not UTF-8
      |
      = help: save the file as UTF-8, for example by `iconv -f latin1 -t utf-8`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn nul() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = \"a\0b\"\n", &[]), @r#"
    error[CRN0103]: the file holds a NUL character at byte 19
     --> pipeline.toml:2:9
      |
    2 | run = "a␀b"
      |         ^ a NUL
      |
      = help: is this the pipeline file? a text holds no NUL

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn nul_as_an_escape() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = \"a\\u0000b\"\n", &[]), @r#"
    error[CRN0103]: `run` holds a NUL character
     --> pipeline.toml:2:7
      |
    2 | run = "a\u0000b"
      |       ^^^^^^^^^^ a NUL in this string
      |
      = help: no command, path or variable can hold one: remove `\u0000`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn ten_megabytes_on_one_line() {
    let text = format!("[stages.a]\nrun = \"{}\"\n", "x".repeat(10 << 20));
    insta::assert_snapshot!(drawn(&text, &[]), @r#"
    error[CRN0104]: a line of 10485768 bytes, more than 2097152
     --> pipeline.toml:2:1
      |
    2 | run = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      | ^ this line
      |
      = help: break the array into lines, or put the text in a file of its own

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn two_hundred_levels() {
    let text = format!("[stages.a]\nrun = {}{}\n", "[".repeat(200), "]".repeat(200));
    insta::assert_snapshot!(drawn(&text, &[]), @"
    error[CRN0105]: values are nested more than 80 levels deep
     --> pipeline.toml:2:87
      |
    2 | run = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[...
      |                                                                                       ^ too deep
      |
      = help: no pipeline needs more than four levels

    error: 1 error in `pipeline.toml`
    ");
    let tables = format!("[stages.a]\nrun = {}1{}\n", "{a=".repeat(200), "}".repeat(200));
    assert_eq!(codes(&tables, &[]), [crate::code::TOO_DEEP]);
    let keys = format!("[stages.a]\nrun{} = 1\n", ".a".repeat(200));
    assert_eq!(codes(&keys, &[]), [crate::code::TOO_DEEP]);
    let unclosed = format!("a = {}", "[".repeat(100_000));
    assert_eq!(codes(&unclosed, &[]), [crate::code::TOO_DEEP]);
}

#[test]
fn empty() {
    insta::assert_snapshot!(drawn("", &[]), @r#"
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
    assert_eq!(codes("\u{feff}# only a comment\n", &[]), [crate::code::NO_STAGES]);
    assert_eq!(codes("[stages]\n", &[]), [crate::code::NO_STAGES]);
    assert_eq!(codes("[pipeline]\nname = \"x\"\n", &[]), [crate::code::NO_STAGES]);
}

#[test]
fn a_file_that_is_too_large() {
    let source = Source { path: "data.csv", bytes: &vec![b'\n'; (12 << 20) + 1] };
    let report = load(source, &options(), &Disk::default()).unwrap_err();
    insta::assert_snapshot!(report, @"CRN0104: the file has 12582913 bytes, more than 12582912");
}

#[test]
fn a_long_line_is_cut_around_its_fault() {
    let text =
        format!("[stages.a]\nrun = \"true\"\ninputs = [{}\"gone.csv\"]\n", "\"a.csv\", ".repeat(5_000));
    insta::assert_snapshot!(drawn(&text, &["a.csv"]), @r#"
    error[CRN0506]: the input `gone.csv` does not exist
     --> pipeline.toml:3:45011
      |
    3 | … "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "a.csv", "gone.csv"]
      |                                                                                                      ^^^^^^^^^^ neither on disk nor made by a stage
      |
      = help: create it, or name it in the `outputs` of the stage that makes it, or write `{ path = "gone.csv", optional = true }`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn colours_are_escapes_around_the_same_text() {
    let text = "[stages.a]\nrunn = \"true\"\n";
    let source = Source { path: "pipeline.toml", bytes: text.as_bytes() };
    let report = faults(text, &[]);
    let coloured = report.render(&source, Style { ansi: true, width: 120 });
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = escape.split_once('m').unwrap().1;
    }
    assert_eq!(plain + rest, report.render(&source, Style::PLAIN));
}

#[test]
fn many_faults_are_counted_and_not_all_drawn() {
    let text = (0..1_000).map(|n| format!("[stages.s{n}]\nrunn = \"true\"\n")).collect::<String>();
    let picture = drawn(&text, &[]);
    assert!(
        picture.ends_with("note: 800 more are not shown\n\nerror: 1000 errors in `pipeline.toml`\n"),
        "{picture}"
    );
}
