use super::*;

const FILES: [&str; 2] = ["orders/a.jsonl", "clean.py"];

/// A stage `load` with these lines below `[stages.load.records]`, without `source` and `key` that all have.
fn stage(lines: &str) -> String {
    format!("[stages.load.records]\nsource = \"orders/*.jsonl\"\nkey = [\"id\"]\n{lines}\n")
}

fn told(text: &str) -> String {
    drawn(text, &FILES)
}

#[test]
fn what_a_records_stage_may_not_say() {
    let file = r#"{ type = "jsonl", path = "build/o.jsonl" }"#;
    let table = r#"{ type = "sqlite", path = "o.db", table = "t""#;
    let http = r#"{ type = "http", url = "http://h/", mode = "append" }"#;
    for (text, said) in [
        (stage(""), ["`records` has no `sink`", "leads nowhere"]),
        ("[stages.load.records]\nsink = 1\n".to_owned(), ["`records` has no `source`", "a table, or an array"]),
        (stage("sink = { path = \"a\" }"), ["a sink has no `type`", "one of `postgres`"]),
        (stage("sink = { type = \"postgress\" }"), ["cannot be `postgress`", "did you mean `postgres`?"]),
        (stage("sink = { type = \"postgres\", table = \"t\" }"), ["the sink has no `url`", "env.DATABASE_URL"]),
        (stage("sink = { type = \"jsonl\", path = \"a\", table = \"t\" }"), ["`table` means nothing", "remove it"]),
        (stage(&format!("sink = [{file}, {file}]")), ["two sinks write the file `build/o.jsonl`", "path of its own"]),
        (
            stage(&format!("tombstone = \"gone\"\nsink = {table}, mode = \"append\" }}")),
            ["`mode = \"append\"` deletes nothing", "remove `tombstone`"],
        ),
        (
            stage(&format!("tombstone = \"gone\"\nsink = {table}, mode = \"insert\" }}")),
            ["`mode = \"insert\"` deletes nothing", "mode = \"upsert\""],
        ),
        (
            stage(&format!("sink = [{table}, mode = \"append\" }}, {file}]")),
            ["one sink takes each version", "make two stages"],
        ),
        (
            stage(&format!("sink = [{table}, mode = \"append\" }}, {http}]")),
            ["a table of `mode = \"append\"` stands before another sink", "put it last"],
        ),
        (stage(&format!("commit = \"two-phase\"\nsink = {file}")), ["needs two PostgreSQL sinks", "remove it"]),
        (stage(&format!("batch_size = 5\nsink = {file}")), ["has no key `batch_size`", "write `batch`"]),
        (stage(&format!("version = \"a..b\"\nsink = {file}")), ["names no field: `a..b`", "customer.id"]),
        (
            "[stages.load.records]\nsource = \"orders/*.jsonl\"\nsink = { type = \"sqlite\", path = \"o.db\", table = \"t\" }\n"
                .to_owned(),
            ["`mode = \"upsert\"` needs a `key`", "by which a row is found again"],
        ),
        (
            format!("[stages.load]\nrun = \"true\"\n{}", stage(&format!("sink = {file}"))),
            ["`run` or `records`, not both", "make two stages"],
        ),
        (stage("sink = { type = \"http\", url = \"{{ env }}\" }"), ["`env` names no variable", "env.NAME"]),
    ] {
        let told = told(&text);
        for said in said {
            assert!(told.contains(said), "{text}\nsays nothing of {said}:\n{told}");
        }
    }
}

#[test]
fn a_table_that_is_appended_to_stands_after_other_sinks_or_commits_with_them() {
    let table = r#"{ type = "postgres", url = "{{ env.A }}", table = "t", mode = "append" }"#;
    let file = r#"{ type = "jsonl", path = "build/o.jsonl", mode = "append" }"#;
    let http = r#"{ type = "http", url = "http://h/", mode = "append" }"#;
    for lines in [
        format!("sink = [{table}, {file}]"),
        format!("sink = [{http}, {table}]"),
        format!("commit = \"two-phase\"\nsink = [{table}, {table}]").replacen("env.A", "env.B", 1),
    ] {
        pipeline(&stage(&lines), &FILES);
    }
}

#[test]
fn a_records_stage_reads_its_source_and_makes_its_files() {
    let text = "[stages.load]\ninputs = [\"clean.py\"]\n[stages.load.records]\nsource = \"orders/*.jsonl\"\nkey = \"id\"\n\
        worker = [\"python3\", \"clean.py\"]\nsink = [{ type = \"jsonl\", path = \"build/o.jsonl\" }, \
        { type = \"postgres\", url = \"postgres://{{ env.USER }}@h/d\", table = \"t\" }]\n\
        [stages.report]\nrun = \"wc -l build/o.jsonl\"\ninputs = [\"build/o.jsonl\"]\n";
    let pipeline = pipeline(text, &FILES);
    let load = &pipeline.instances[0];
    assert_eq!(load.inputs.len(), 2);
    assert_eq!(load.outputs[0].path.as_str(), "build/o.jsonl");
    assert_eq!(pipeline.instances[1].needs, [0]);
    let records = load.records.as_ref().unwrap();
    assert_eq!(records.worker.as_ref(), Some(&load.command));
    let cairn_model::SinkPlace::Postgres { url, .. } = &records.sinks[1].place else { panic!("{records:?}") };
    assert_eq!(url.0, "postgres://${USER}@h/d");
}

#[test]
fn two_stages_that_load_into_one_table_are_told_of() {
    let stage = |name: &str, table: &str| {
        format!(
            "[stages.{name}.records]\nsource = \"orders/*.jsonl\"\nkey = [\"id\"]\n\
             sink = {{ type = \"sqlite\", path = \"o.db\", table = \"{table}\" }}\n"
        )
    };
    let warned = |text: &str| load_with(text, &options(), &Disk::of(&FILES)).unwrap().warnings;
    let two = |one: &str, other: &str| stage("a", one) + &stage("b", other);
    insta::assert_snapshot!(draw(&two("t", "t"), &warned(&two("t", "t"))), @r#"
    warning[CRN0704]: the stages `a` and `b` load into the same table `t`
     --> pipeline.toml:8:8
      |
    4 | sink = { type = "sqlite", path = "o.db", table = "t" }
      |        ----------------------------------------------- the same table here
    ...
    8 | sink = { type = "sqlite", path = "o.db", table = "t" }
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ of a key that both have, the last one stays
      |
      = help: make one stage of them, with a pattern as its `source`; two are right where they have no key in common

    warning: 1 warning in `pipeline.toml`
    "#);
    assert!(warned(&two("t", "u")).diagnostics.is_empty());
    let with_matrix = "[stages.a.matrix]\nday = [\"1\", \"2\"]\n[stages.a.records]";
    let matrix = stage("a", "t").replace("[stages.a.records]", with_matrix);
    assert!(warned(&matrix).diagnostics.is_empty(), "instances of one stage");
}
