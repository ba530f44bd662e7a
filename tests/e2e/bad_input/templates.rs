//! Templates.

use insta::assert_snapshot;

use super::{says, shown};

#[test]
fn unknown_template_names() {
    assert_snapshot!(
        shown("[params]\nyear = 2013\n[stages.a]\nrun = 'echo {{ params.yaer }} {{ foo }}'\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0402]: there is no `params.yaer`
     --> pipeline.toml:4:23
      |
    4 | run = 'echo {{ params.yaer }} {{ foo }}'
      |                       ^^^^ unknown name
      |
    help: did you mean `params.year`?
      |
    4 - run = 'echo {{ params.yaer }} {{ foo }}'
    4 + run = 'echo {{ params.year }} {{ foo }}'
      |

    error[CRN0402]: there is no name `foo`
     --> pipeline.toml:4:34
      |
    4 | run = 'echo {{ params.yaer }} {{ foo }}'
      |                                  ^^^ unknown name
      |
      = help: the names are `params`, `matrix`, `inputs`, `outputs`, `stage`, `run` and `interval`; for `{{` itself write `{{ "{{" }}`

    error: 2 errors in `pipeline.toml`
    "#
    );
    let check = |expression: &str, parts: &[&str]| {
        let text = format!(
            "[params]\nyear = 1\n[stages.a]\nmatrix = {{ y = [1] }}\nrun = '{{{{ {expression} }}}}'\n"
        );
        says(text, parts);
    };
    check("param.year", &["pipeline.toml:5:11", "did you mean `params`?"]);
    check("matrix.x", &["pipeline.toml:5:18", "did you mean `matrix.y`?"]);
    check("inputs.raw", &["pipeline.toml:5:18", "`inputs", "raw"]);
    check("outputs.raw", &["pipeline.toml:5:19", "no `outputs.raw`"]);
    check("range(5)", &["pipeline.toml:5:11", "is a list, not a text", "whose value is a text or a number"]);
    check("1 +", &["pipeline.toml:5:", "cannot be read"]);
    check("params.year|nope", &["pipeline.toml:5:", "nope", "filters"]);
    says(
        "[stages.a]\nrun = 'echo {{ params.year'\n",
        &["pipeline.toml:2:13", "not closed", "close it with `}}`"],
    );
}

/// The parser of templates counts parentheses only; all else that nests or chains must end in an error as well.
#[test]
fn templates_without_end() {
    let check = |expression: String| {
        says(format!("[stages.a]\nrun = '{{{{ {expression} }}}}'\n"), &["pipeline.toml:2:", "error[CRN04"]);
    };
    check("(".repeat(200) + "1" + &")".repeat(200));
    check("not ".repeat(100_000) + "1");
    check("-".repeat(100_000) + "1");
    check("1 + ".repeat(100_000) + "1");
    check("1".to_owned() + &"|string".repeat(100_000));
    check("stage".to_owned() + &".a".repeat(100_000));
    check("1 if 1 else ".repeat(100_000) + "1");
    check("range(100000000)|list|length".to_owned());
    check("\"a\" * 1000000000".to_owned());
}
