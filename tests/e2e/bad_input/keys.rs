//! Keys and values.

use insta::assert_snapshot;

use super::{says, shown};

#[test]
fn wrong_types() {
    assert_snapshot!(
        shown("[env]\nA = 1\n[stages.a]\nrun = 3\ninputs = \"x\"\ntimeout = 10\nmatrix = 4\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0204]: the variable `A` must be a string, not an integer
     --> pipeline.toml:2:5
      |
    2 | A = 1
      |     ^ this is an integer
      |
    help: write `"1"`
      |
    2 - A = 1
    2 + A = "1"
      |

    error[CRN0204]: `run` must be a string or an array of strings, not an integer
     --> pipeline.toml:4:7
      |
    4 | run = 3
      |       ^ this is an integer
      |
    help: write `"3"`
      |
    4 - run = 3
    4 + run = "3"
      |

    error[CRN0204]: `inputs` must be an array, or a table of names, not a string
     --> pipeline.toml:5:10
      |
    5 | inputs = "x"
      |          ^^^ this is a string
      |
    help: write `["x"]`
      |
    5 - inputs = "x"
    5 + inputs = ["x"]
      |

    error[CRN0208]: `timeout` is 10 of what?
     --> pipeline.toml:6:11
      |
    6 | timeout = 10
      |           ^^ a duration needs a unit
      |
    help: write `"10s"` for seconds
      |
    6 - timeout = 10
    6 + timeout = "10s"
      |

    error[CRN0204]: `matrix` must be a table of arrays such as `{ carrier = ["UA", "AA"] }`, not an integer
     --> pipeline.toml:7:10
      |
    7 | matrix = 4
      |          ^ this is an integer
      |
      = help: write a table of arrays such as `{ carrier = ["UA", "AA"] }`

    error: 5 errors in `pipeline.toml`
    "#
    );
    let check = |line: &str, parts: &[&str]| says(format!("{line}\n[stages.a]\nrun = 'x'\n"), parts);
    check("env = 1", &["pipeline.toml:1:7", "write a table such as `{ NAME = \"value\" }`"]);
    check("pools = 1", &["pipeline.toml:1:9", "write a table such as `{ db = 2 }`"]);
    check("params = []", &["pipeline.toml:1:10", "write a table such as `{ year = 2024 }`"]);
    says(
        "[stages.a]\nrun = 'x'\nneeds = [1, 'b']\nenv = { A = 1, B = '{{ b }}' }\n",
        &["pipeline.toml:3:10", "pipeline.toml:3:13", "pipeline.toml:4:13", "pipeline.toml:4:24"],
    );
    says("[stages]\n'a b' = 1\n", &["pipeline.toml:2:1", "pipeline.toml:2:9", "[stages.NAME]"]);
    says("stages = [1]\n", &["pipeline.toml:1:1", "`stages` must be a table", "[stages.NAME]"]);
    says("[[stages]]\nrun = 'x'\n", &["pipeline.toml:1:", "`stages` must be a table", "[stages.NAME]"]);
    says("[stages]\na = 'x'\n", &["pipeline.toml:2:5", "the stage `a` must be a table", "[stages.a]"]);
    says(
        "[params]\nx = [1]\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:2:5", "cannot be an array", "`matrix`"],
    );
}

#[test]
fn unknown_keys_propose_ours() {
    assert_snapshot!(
        shown("[stages.a]\ncmd = 'x'\ndeps = ['in']\nouts = ['out']\ninptus = ['in']\n"),
        @r"
    exit status: 2
    ----- stderr -----
    error[CRN0202]: a stage has no key `cmd`
     --> pipeline.toml:2:1
      |
    2 | cmd = 'x'
      | ^^^ is called `run` here
      |
    help: write `run`
      |
    2 - cmd = 'x'
    2 + run = 'x'
      |

    error[CRN0202]: a stage has no key `deps`
     --> pipeline.toml:3:1
      |
    3 | deps = ['in']
      | ^^^^ is called `inputs` here
      |
    help: write `inputs`
      |
    3 - deps = ['in']
    3 + inputs = ['in']
      |

    error[CRN0202]: a stage has no key `outs`
     --> pipeline.toml:4:1
      |
    4 | outs = ['out']
      | ^^^^ is called `outputs` here
      |
    help: write `outputs`
      |
    4 | outputs = ['out']
      |    +++

    error[CRN0201]: a stage has no key `inptus`
     --> pipeline.toml:5:1
      |
    5 | inptus = ['in']
      | ^^^^^^ unknown key
      |
    help: did you mean `inputs`?
      |
    5 - inptus = ['in']
    5 + inputs = ['in']
      |

    error: 4 errors in `pipeline.toml`
    "
    );
    for (word, ours) in [
        ("cmd", "run"),
        ("command", "run"),
        ("script", "run"),
        ("deps", "inputs"),
        ("outs", "outputs"),
        ("depends", "needs"),
        ("depends_on", "needs"),
        ("retry", "retries"),
        ("outptus", "outputs"),
    ] {
        let text = format!("[stages.a]\nrun = 'x'\n{word} = ['x']\n");
        says(text, &["pipeline.toml:3:1", &format!("no key `{word}`"), &format!("`{ours}")]);
    }
    says(
        "[stages.a]\nrun = 'x'\nquux = 1\n",
        &["pipeline.toml:3:1", "the keys of a stage are `run`, `inputs`"],
    );
    says("[stage.a]\nrun = 'x'\n", &["pipeline.toml:1:2", "write `stages`"]);
    says("[stages.a]\nrun = 'x'\nwhen = 'x'\n", &["pipeline.toml:3:1", "`when` is not supported yet"]);
}

#[test]
fn bad_durations() {
    assert_snapshot!(
        shown("[stages.a]\nrun = 'x'\ntimeout = '10'\nkill_after = 'soon'\ncache = { ttl = '-1s' }\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0208]: `timeout` is 10 of what?
     --> pipeline.toml:3:11
      |
    3 | timeout = '10'
      |           ^^^^ a duration needs a unit
      |
    help: write `"10s"` for seconds
      |
    3 - timeout = '10'
    3 + timeout = "10s"
      |

    error[CRN0208]: `kill_after` is no duration: `soon`
     --> pipeline.toml:4:14
      |
    4 | kill_after = 'soon'
      |              ^^^^^^ cannot be read as a duration
      |
      = help: write for example `"30s"`, `"10m"`, `"1h30m"`, `"2d"` or `"PT1H30M"`

    error[CRN0208]: `ttl` is no duration: `-1s`
     --> pipeline.toml:5:17
      |
    5 | cache = { ttl = '-1s' }
      |                 ^^^^^ it is negative
      |
      = help: write for example `"30s"`, `"10m"`, `"1h30m"`, `"2d"` or `"PT1H30M"`

    error: 3 errors in `pipeline.toml`
    "#
    );
    for bad in ["5x", "", "ten minutes", "99999999999999999999d", "1h30", "1.5.5s"] {
        let text = format!("[stages.a]\nrun = 'x'\nretries = {{ attempts = 2, delay = '{bad}' }}\n");
        says(text, &["pipeline.toml:3:35", "`delay` is", "\"30s\""]);
    }
    // What is proposed would be taken.
    for (bad, part) in [
        ("'0s'", "too short"),
        ("0", "too short"),
        ("-1", "it is negative"),
        ("inf", "\"30s\""),
        ("'.'", "\"30s\""),
    ] {
        let text = format!("[stages.a]\nrun = 'x'\ntimeout = {bad}\n");
        says(text, &["pipeline.toml:3:11", part]);
    }
}
