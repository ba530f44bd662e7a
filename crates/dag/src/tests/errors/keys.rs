//! Keys, types and values.

use super::*;

#[test]
fn a_slip_of_the_pen() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = \"true\"\nretrys = 3\n", &[]), @"
    error[CRN0201]: a stage has no key `retrys`
     --> pipeline.toml:3:1
      |
    3 | retrys = 3
      | ^^^^^^ unknown key
      |
    help: did you mean `retries`?
      |
    3 - retrys = 3
    3 + retries = 3
      |

    error: 1 error in `pipeline.toml`
    ");
}

#[test]
fn words_of_other_tools() {
    let text =
        "[stages.a]\ncmd = \"python3 a.py\"\ndeps = [\"a.py\"]\nouts = [\"a.csv\"]\ndepends_on = [\"b\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0202]: a stage has no key `cmd`
     --> pipeline.toml:2:1
      |
    2 | cmd = "python3 a.py"
      | ^^^ is called `run` here
      |
    help: write `run`
      |
    2 - cmd = "python3 a.py"
    2 + run = "python3 a.py"
      |

    error[CRN0202]: a stage has no key `deps`
     --> pipeline.toml:3:1
      |
    3 | deps = ["a.py"]
      | ^^^^ is called `inputs` here
      |
    help: write `inputs`
      |
    3 - deps = ["a.py"]
    3 + inputs = ["a.py"]
      |

    error[CRN0202]: a stage has no key `outs`
     --> pipeline.toml:4:1
      |
    4 | outs = ["a.csv"]
      | ^^^^ is called `outputs` here
      |
    help: write `outputs`
      |
    4 | outputs = ["a.csv"]
      |    +++

    error[CRN0202]: a stage has no key `depends_on`
     --> pipeline.toml:5:1
      |
    5 | depends_on = ["b"]
      | ^^^^^^^^^^ not a key here
      |
      = help: stages that read another's outputs wait for it by themselves; for any other, write `needs = ["stage"]`

    error: 4 errors in `pipeline.toml`
    "#);
    // Each names something of ours and nothing else is reported of it.
    let words = "script command artifacts output input dependencies depends environment retry max_attempts \
                 time_limit desc strategy threads cwd always_changed params container name log condition";
    for word in words.split_whitespace() {
        let text = format!("[stages.a]\nrun = \"true\"\n{word} = 1\n");
        assert_eq!(codes(&text, &[]), [crate::code::FOREIGN_KEY], "{word}");
    }
    for word in ["tasks", "jobs", "steps", "rules"] {
        assert_eq!(codes(&format!("[{word}.a]\nrun = \"x\"\n"), &[]), [crate::code::FOREIGN_KEY], "{word}");
    }
}

#[test]
fn an_unknown_word() {
    insta::assert_snapshot!(drawn(&format!("{GOOD}colour = \"red\"\n"), &[]), @r#"
    error[CRN0201]: a stage has no key `colour`
     --> pipeline.toml:3:1
      |
    3 | colour = "red"
      | ^^^^^^ unknown key
      |
      = help: the keys of a stage are `run`, `inputs`, `outputs`, `stdout`, `env`, `pass_env`, `tools`, `salt`, `shell`, `matrix`, `needs`, `retries`, `timeout`, `kill_after`, `cache`, `resources`, `priority`, `sandbox`, `records`, `description`, `effect` and `on_failure`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn keys_of_later_versions() {
    insta::assert_snapshot!(drawn("[stages.a]\nrun = \"true\"\nforeach = { glob = \"raw/*.csv\" }\nsandbox = \"hermetic\"\n", &[]), @r#"
    error[CRN0203]: `foreach` is not supported yet
     --> pipeline.toml:3:1
      |
    3 | foreach = { glob = "raw/*.csv" }
      | ^^^^^^^ comes in a later version
      |
      = help: remove it

    error[CRN0203]: the sandbox `hermetic` is not supported yet
     --> pipeline.toml:4:11
      |
    4 | sandbox = "hermetic"
      |           ^^^^^^^^^^ comes in a later version
      |
    help: write `"auto"`, which takes the strongest there is
      |
    4 - sandbox = "hermetic"
    4 + sandbox = "auto"
      |

    error: 2 errors in `pipeline.toml`
    "#);
    for key in ["when", "secrets", "executor"] {
        let text = format!("[stages.a]\nrun = \"true\"\n{key} = 1\n");
        assert_eq!(codes(&text, &[]), [crate::code::NOT_YET], "{key}");
    }
    let url = "[stages.a]\nrun = \"true\"\ninputs = [{ url = \"https://example.org\" }]\n";
    assert_eq!(codes(url, &[]), [crate::code::NOT_YET]);
}

#[test]
fn wrong_types() {
    let text = "[stages.a]\nrun = 5\ninputs = \"a.csv\"\noutputs = [1]\ncache = \"false\"\nresources = { cpus = \"2\" }\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0204]: `run` must be a string or an array of strings, not an integer
     --> pipeline.toml:2:7
      |
    2 | run = 5
      |       ^ this is an integer
      |
    help: write `"5"`
      |
    2 - run = 5
    2 + run = "5"
      |

    error[CRN0204]: `inputs` must be an array, or a table of names, not a string
     --> pipeline.toml:3:10
      |
    3 | inputs = "a.csv"
      |          ^^^^^^^ this is a string
      |
    help: write `["a.csv"]`
      |
    3 - inputs = "a.csv"
    3 + inputs = ["a.csv"]
      |

    error[CRN0204]: an output must be a string, not an integer
     --> pipeline.toml:4:12
      |
    4 | outputs = [1]
      |            ^ this is an integer
      |
    help: write `"1"`
      |
    4 - outputs = [1]
    4 + outputs = ["1"]
      |

    error[CRN0204]: `cache` must be `true`, `false` or a table such as `{ ttl = "1h" }`, not a string
     --> pipeline.toml:5:9
      |
    5 | cache = "false"
      |         ^^^^^^^ this is a string
      |
    help: write `false`
      |
    5 - cache = "false"
    5 + cache = false
      |

    error[CRN0204]: `cpus` must be an integer, not a string
     --> pipeline.toml:6:22
      |
    6 | resources = { cpus = "2" }
      |                      ^^^ this is a string
      |
    help: write `2`
      |
    6 - resources = { cpus = "2" }
    6 + resources = { cpus = 2 }
      |

    error: 5 errors in `pipeline.toml`
    "#);
    assert_eq!(codes("[[stages]]\nrun = \"true\"\n", &[]), [crate::code::WRONG_TYPE]);
    assert_eq!(codes("[stages]\nrun = \"true\"\n", &[]), [crate::code::WRONG_TYPE]);
    assert_eq!(codes("stages = 1\n", &[]), [crate::code::WRONG_TYPE]);
    assert_eq!(codes(&format!("{GOOD}shell = \"bash -c\"\n"), &[]), [crate::code::WRONG_TYPE]);
}

#[test]
fn a_stage_without_a_command() {
    insta::assert_snapshot!(drawn("[stages.a]\noutputs = [\"a\"]\n", &[]), @r#"
    error[CRN0206]: the stage `a` has no `run`
     --> pipeline.toml:1:9
      |
    1 | [stages.a]
      |         ^ runs nothing
      |
      = help: write `run = "…"` for a shell, or `run = ["program", "argument"]`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn durations() {
    let text = "[stages.a]\nrun = \"true\"\ntimeout = 30\nkill_after = \"1 fortnight\"\nretries = { attempts = 2, delay = \"5\" }\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0208]: `timeout` is 30 of what?
     --> pipeline.toml:3:11
      |
    3 | timeout = 30
      |           ^^ a duration needs a unit
      |
    help: write `"30s"` for seconds
      |
    3 - timeout = 30
    3 + timeout = "30s"
      |

    error[CRN0208]: `kill_after` is no duration: `1 fortnight`
     --> pipeline.toml:4:14
      |
    4 | kill_after = "1 fortnight"
      |              ^^^^^^^^^^^^^ cannot be read as a duration
      |
      = help: write for example `"30s"`, `"10m"`, `"1h30m"`, `"2d"` or `"PT1H30M"`

    error[CRN0208]: `delay` is 5 of what?
     --> pipeline.toml:5:35
      |
    5 | retries = { attempts = 2, delay = "5" }
      |                                   ^^^ a duration needs a unit
      |
    help: write `"5s"` for seconds
      |
    5 | retries = { attempts = 2, delay = "5s" }
      |                                     +

    error: 3 errors in `pipeline.toml`
    "#);
    for bad in ["0s", "-5m", "1y", ""] {
        let text = format!("{GOOD}timeout = \"{bad}\"\n");
        assert_eq!(codes(&text, &[]), [crate::code::BAD_DURATION], "{bad}");
    }
}

#[test]
fn sizes() {
    let text = "[stages.a]\nrun = \"true\"\nresources = { memory = 512 }\n[stages.b]\nrun = \"true\"\nresources = { memory = \"4G\" }\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0209]: `memory` is 512 of what?
     --> pipeline.toml:3:24
      |
    3 | resources = { memory = 512 }
      |                        ^^^ a size needs a unit
      |
    help: write `"512MiB"` for mebibytes
      |
    3 - resources = { memory = 512 }
    3 + resources = { memory = "512MiB" }
      |

    error[CRN0209]: `memory` has the unit `G`, which means two things
     --> pipeline.toml:6:24
      |
    6 | resources = { memory = "4G" }
      |                        ^^^^ 1000 or 1024?
      |
      = help: write `GB` for powers of 1000, `GiB` for powers of 1024

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn values_out_of_range_and_unknown_words() {
    let text = "[stages.a]\nrun = []\nretries = { attempts = 0, backoff = \"linear\" }\nsandbox = \"of\"\nresources = { cpus = 5000000000 }\ntools = [\"awk --version\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0205]: `run` names no program
     --> pipeline.toml:2:7
      |
    2 | run = []
      |       ^^ no program
      |
      = help: write `["program", "argument"]`

    error[CRN0205]: `attempts` is out of range
     --> pipeline.toml:3:24
      |
    3 | retries = { attempts = 0, backoff = "linear" }
      |                        ^ out of range
      |
      = help: write at least 1

    error[CRN0205]: `linear` is no backoff
     --> pipeline.toml:3:37
      |
    3 | retries = { attempts = 0, backoff = "linear" }
      |                                     ^^^^^^^^ unknown word
      |
    help: write `"exponential"` or `"constant"`
      |
    3 - retries = { attempts = 0, backoff = "linear" }
    3 + retries = { attempts = 0, backoff = "constant" }
      |

    error[CRN0205]: `of` is no sandbox
     --> pipeline.toml:4:11
      |
    4 | sandbox = "of"
      |           ^^^^ unknown word
      |
    help: did you mean `off`?
      |
    4 | sandbox = "off"
      |              +

    error[CRN0205]: `cpus` is out of range
     --> pipeline.toml:5:22
      |
    5 | resources = { cpus = 5000000000 }
      |                      ^^^^^^^^^^ out of range
      |
      = help: write at most 4294967295

    error[CRN0205]: `awk --version` is no command
     --> pipeline.toml:6:10
      |
    6 | tools = ["awk --version"]
      |          ^^^^^^^^^^^^^^^ not a name
      |
      = help: name a command alone, its version is asked for; any other question is an input `{ command = "…" }`

    error: 6 errors in `pipeline.toml`
    "#);
}

#[test]
fn names() {
    let text = "[stages.\"By Carrier\"]\nrun = \"true\"\noutputs = { the-file = \"a\" }\nenv = { \"A-B\" = \"1\", CAIRN_X = \"2\" }\n[params]\nmin-flights = 3\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0207]: `By Carrier` is not a name
     --> pipeline.toml:1:9
      |
    1 | [stages."By Carrier"]
      |         ^^^^^^^^^^^^ not a name
      |
      = help: a name has 1 to 64 of the characters `a-z 0-9 _ -` and begins with a letter or a digit: for example `by-carrier`

    error[CRN0207]: `the-file` cannot be an output's name
     --> pipeline.toml:3:13
      |
    3 | outputs = { the-file = "a" }
      |             ^^^^^^^^ not usable in a template
      |
      = note: such a name begins with a letter or `_` and holds letters, digits and `_`
    help: write `the_file`
      |
    3 - outputs = { the-file = "a" }
    3 + outputs = { the_file = "a" }
      |

    error[CRN0207]: `A-B` is no variable's name
     --> pipeline.toml:4:9
      |
    4 | env = { "A-B" = "1", CAIRN_X = "2" }
      |         ^^^^^ not usable in a shell
      |
      = help: begin with a letter or `_`, then letters, digits and `_`

    error[CRN0207]: the variable `CAIRN_X` belongs to cairn
     --> pipeline.toml:4:22
      |
    4 | env = { "A-B" = "1", CAIRN_X = "2" }
      |                      ^^^^^^^ set by cairn itself
      |
      = help: choose a name that does not begin with `CAIRN_`

    error[CRN0207]: `min-flights` cannot be a param's name
     --> pipeline.toml:6:1
      |
    6 | min-flights = 3
      | ^^^^^^^^^^^ not usable in a template
      |
      = note: such a name begins with a letter or `_` and holds letters, digits and `_`
    help: write `min_flights`
      |
    6 - min-flights = 3
    6 + min_flights = 3
      |

    error: 5 errors in `pipeline.toml`
    "#);
}

#[test]
fn stages_that_do_not_exist() {
    let text = "[stages.extract]\nrun = \"true\"\n[stages.load]\nrun = \"true\"\nneeds = [\"extrac\", \"extract[UA]\", \"data/a.csv\"]\ninputs = [{ stage = \"nowhere\" }]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0210]: there is no stage `extrac`
     --> pipeline.toml:5:10
      |
    5 | needs = ["extrac", "extract[UA]", "data/a.csv"]
      |          ^^^^^^^^ unknown stage
      |
    help: did you mean `extract`?
      |
    5 | needs = ["extract", "extract[UA]", "data/a.csv"]
      |                 +

    error[CRN0210]: there is no stage `extract[UA]`
     --> pipeline.toml:5:20
      |
    5 | needs = ["extrac", "extract[UA]", "data/a.csv"]
      |                    ^^^^^^^^^^^^^ unknown stage
      |
    help: write `extract`: all its instances are waited for
      |
    5 - needs = ["extrac", "extract[UA]", "data/a.csv"]
    5 + needs = ["extrac", "extract", "data/a.csv"]
      |

    error[CRN0210]: there is no stage `data/a.csv`
     --> pipeline.toml:5:35
      |
    5 | needs = ["extrac", "extract[UA]", "data/a.csv"]
      |                                   ^^^^^^^^^^^^ unknown stage
      |
      = help: is it a path? write it in `inputs`; stages that make it are waited for by themselves

    error[CRN0210]: there is no stage `nowhere`
     --> pipeline.toml:6:21
      |
    6 | inputs = [{ stage = "nowhere" }]
      |                     ^^^^^^^^^ unknown stage
      |
      = help: write the name of a stage of this file

    error: 4 errors in `pipeline.toml`
    "#);
}

#[test]
fn pools_that_do_not_exist() {
    let text = "[pools]\ndatabase = 2\n[stages.a]\nrun = \"true\"\nresources = { pool = \"databse\" }\n[stages.b]\nrun = \"true\"\nresources = { pool = \"gpu\" }\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0211]: there is no pool `databse`
     --> pipeline.toml:5:22
      |
    5 | resources = { pool = "databse" }
      |                      ^^^^^^^^^ unknown pool
      |
    help: did you mean `database`?
      |
    5 | resources = { pool = "database" }
      |                            +

    error[CRN0211]: there is no pool `gpu`
     --> pipeline.toml:8:22
      |
    8 | resources = { pool = "gpu" }
      |                      ^^^^^ unknown pool
      |
      = help: write `gpu = 2` in the table `[pools]`

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn warnings_do_not_stop_a_pipeline() {
    let text = "[params]\nyear = 2013\n[stages.a]\nrun = \"true\"\nresources = { cpus = 64 }\n";
    let loaded = load_with(text, &options(), &Disk::default()).unwrap();
    insta::assert_snapshot!(draw(text, &loaded.warnings), @"
    warning[CRN0701]: the param `year` is not used
     --> pipeline.toml:2:1
      |
    2 | year = 2013
      | ^^^^ no template refers to it
      |
      = help: write `{{ params.year }}` where it counts, or remove it

    warning[CRN0702]: the stage `a` asks for 64 processors, this machine has 4
     --> pipeline.toml:5:22
      |
    5 | resources = { cpus = 64 }
      |                      ^^ more than there are
      |
      = help: it will run alone, with those there are

    warning: 2 warnings in `pipeline.toml`
    ");
}

#[test]
fn the_proposed_edits_mend_the_file() {
    let text = r#"[pipelines]
name = "a"
[tasks.a]
cmd = 5
env = { N = 3 }
retires = "2"
timeout = 30
needs = "c"
resources = { cpus = "1", memory = 64, pool = "dp" }
sandbox = "hermetic"
[tasks.c]
run = "echo {{ yaer }} {{ params.yeer }}"
inputs = ["data/a.cvs"]
[params]
yaer = 2013
[pools]
db = 1
"#;
    let mut text = text.to_owned();
    // A mended key shows what is wrong below it.
    for _ in 0..3 {
        let Err(report) = load_with(&text, &options(), &Disk::of(&["data/a.csv"])) else { break };
        for diagnostic in report.diagnostics.iter().rev() {
            let patch = diagnostic.patch.as_ref().unwrap_or_else(|| panic!("{diagnostic:?}"));
            text.replace_range(patch.span.clone(), &patch.replacement);
        }
    }
    pipeline(&text, &["data/a.csv"]);
    assert!(
        text.contains("run = \"5\"\nenv = { N = \"3\" }\nretries = 2\ntimeout = \"30s\"\nneeds = [\"c\"]"),
        "{text}"
    );
}

#[test]
fn one_fault_is_told_once() {
    // What follows from a fault in `matrix`, `params`, `inputs` or `outputs` elsewhere is not reported again.
    let text = "[params]\nx-y = 1\n[stages.a]\nmatrix = 3\nrun = \"echo {{ matrix.c }} {{ params.z }}\"\noutputs = [\"{{ matrix.c }}.csv\"]\n\
                [stages.b]\nrun = \"cat {{ inputs.x }} {{ params.z }}\"\ninputs = { x = 3 }\n\
                [stages.c]\nrun = \"cat a\"\ninputs = [\"UA.csv\", \"*.csv\"]\n";
    assert_eq!(codes(text, &[]), [crate::code::BAD_NAME, crate::code::WRONG_TYPE, crate::code::WRONG_TYPE]);
}
