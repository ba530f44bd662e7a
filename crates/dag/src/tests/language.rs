//! What good definitions mean.

use cairn_model::{Command, Interval, OutputKind};

use super::*;
use crate::{Backoff, Cache, Declared, InputKind, Made, ParamValue, Policy, Retries, SandboxChoice};

pub(super) const FLIGHTS: &str = r#"
[pipeline]
name = "flights"
description = "Delays per carrier"
sandbox = "private"

[params]
year = 2013
carrier = { default = "UA", choices = ["UA", "AA"], help = "airline" }

[env]
TZ = "UTC"
YEAR = "{{ params.year }}"

[stages.extract]
description = "One year of flights"
run = "python3 extract.py {{ params.year }} {{ inputs.raw }} > {{ outputs.year }}"
inputs  = { script = "extract.py", raw = "data/flights.csv.gz" }
outputs = { year = "build/flights-{{ params.year }}.csv" }

[stages.by-carrier]
matrix = { carrier = ["UA", "AA", "DL"] }
run = ["python3", "by_carrier.py", "{{ matrix.carrier }}"]
inputs = ["by_carrier.py", "build/flights-{{ params.year }}.csv"]
outputs = ["build/{{ matrix.carrier }}.json"]
env = { CARRIER = "{{ matrix.carrier }} of {{ stage.instance }}" }
retries = { attempts = 3, delay = "2s", backoff = "constant", max_delay = "1m", jitter = false }
timeout = "10m"
kill_after = "3s"
cache = { ttl = "1h" }
priority = -2
sandbox = "off"
resources = { cpus = 2, memory = "1GiB", pool = "db" }

[stages.report]
run = "python3 report.py build/*.json > report.html"
inputs = ["report.py", "build/*.json"]
outputs = ["report.html"]

[pools]
db = 2
"#;
const FLIGHTS_FILES: [&str; 4] = ["extract.py", "by_carrier.py", "report.py", "data/flights.csv.gz"];

fn shell(script: &str) -> Command {
    Command::Shell { shell: options().default_shell, script: script.to_owned() }
}

fn path(text: &str) -> ProjectPath {
    ProjectPath::parse(text).unwrap()
}

#[test]
fn a_whole_pipeline() {
    let loaded = load_with(FLIGHTS, &options(), &Disk::of(&FLIGHTS_FILES)).unwrap();
    let pipeline = &loaded.pipeline;
    assert_eq!(codes_of(&loaded.warnings), ["CRN0701"], "the param `carrier` is not used");
    assert_eq!((pipeline.name.as_str(), pipeline.description.as_str()), ("flights", "Delays per carrier"));
    assert_eq!((pipeline.sandbox, pipeline.sandbox_require), (SandboxChoice::Private, None));
    assert_eq!(pipeline.pools["db"], 2);
    assert!(!pipeline.volatile);
    let stages: Vec<(&str, std::ops::Range<u32>, u32)> = pipeline
        .stages
        .iter()
        .map(|stage| (stage.name.as_str(), stage.instances.clone(), stage.line))
        .collect();
    assert_eq!(stages, [("extract", 0..1, 15), ("by-carrier", 1..4, 21), ("report", 4..5, 35)]);

    let extract = instance(pipeline, "extract");
    assert_eq!(
        extract.command,
        shell("python3 extract.py 2013 data/flights.csv.gz > build/flights-2013.csv")
    );
    assert_eq!(extract.env["YEAR"], "2013");
    assert_eq!(extract.policy, Policy::default());

    let dl = instance(pipeline, "by-carrier[DL]");
    assert_eq!(dl.command, Command::Argv(["python3", "by_carrier.py", "DL"].map(str::to_owned).to_vec()));
    assert_eq!((dl.env["TZ"].as_str(), dl.env["CARRIER"].as_str()), ("UTC", "DL of by-carrier[DL]"));
    assert_eq!(
        dl.outputs,
        [Declared { name: String::new(), path: path("build/DL.json"), kind: OutputKind::File }]
    );
    assert_eq!(
        dl.policy,
        Policy {
            retries: Retries {
                attempts: 3,
                delay_ms: 2_000,
                backoff: Backoff::Constant,
                max_delay_ms: 60_000,
                jitter: false
            },
            timeout_ms: Some(600_000),
            kill_after_ms: 3_000,
            cache: Cache::Ttl { ms: 3_600_000 },
            cpus: 2,
            memory_bytes: Some(1 << 30),
            pool: Some("db".to_owned()),
            priority: -2,
            sandbox: Some(SandboxChoice::Off),
            rollback: false,
        }
    );
    assert_eq!(needs(pipeline, "by-carrier[DL]"), ["extract"]);
    let made = |instance| Made { instance, output: 0 };
    assert_eq!(
        dl.inputs[1].kind,
        InputKind::Path { path: path("build/flights-2013.csv"), made_by: Some(made(0)), holds: vec![] }
    );
    assert_eq!(needs(pipeline, "report"), ["by-carrier[UA]", "by-carrier[AA]", "by-carrier[DL]"]);
    assert_eq!(
        instance(pipeline, "report").inputs[1].kind,
        InputKind::Glob { pattern: "build/*.json".to_owned(), made_by: vec![made(1), made(2), made(3)] }
    );
}

fn codes_of(report: &Report) -> Vec<&str> {
    report.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn a_pipeline_survives_being_stored() {
    let stored = pipeline(FLIGHTS, &FLIGHTS_FILES);
    let bytes = postcard::to_stdvec(&stored).unwrap();
    assert_eq!(postcard::from_bytes::<Pipeline>(&bytes).unwrap(), stored);
}

#[test]
fn a_file_with_carriage_returns_means_the_same() {
    assert_eq!(pipeline(&FLIGHTS.replace('\n', "\r\n"), &FLIGHTS_FILES), pipeline(FLIGHTS, &FLIGHTS_FILES));
}

#[test]
fn dependencies_come_of_files_folders_patterns_stages_and_needs() {
    let text = r#"
        [stages.site]
        run = "make-site"
        outputs = ["build/site/", "build/tables/a.csv"]
        [stages.page]
        run = "cat"
        inputs = ["./build//site/index.html"]
        [stages.all]
        run = "ls"
        inputs = ["build"]
        [stages.deep]
        run = "ls"
        inputs = ["build/site/**/*.html"]
        [stages.wide]
        run = "ls"
        inputs = ["**/*.csv"]
        [stages.gather]
        run = "ls"
        inputs = [{ stage = "site" }]
        [stages.after]
        run = "ls"
        needs = ["gather", "page"]
        [stages.apart]
        run = "ls"
        inputs = ["sources", "build.csv", { env = "LANG" }, { command = "uname -m" }, { path = "no.csv", optional = true }]
    "#;
    let pipeline = pipeline(text, &["sources/a.c", "build.csv"]);
    let made = |output| Made { instance: 0, output };
    for stage in ["page", "all", "deep", "wide", "gather"] {
        assert_eq!(needs(&pipeline, stage), ["site"], "{stage}");
    }
    assert_eq!(needs(&pipeline, "after"), ["page", "gather"]);
    assert_eq!(needs(&pipeline, "apart"), [""; 0]);
    let kind = |stage| &instance(&pipeline, stage).inputs[0].kind;
    assert_eq!(
        *kind("page"),
        InputKind::Path { path: path("build/site/index.html"), made_by: Some(made(0)), holds: vec![] }
    );
    assert_eq!(
        *kind("all"),
        InputKind::Path { path: path("build"), made_by: None, holds: vec![made(0), made(1)] }
    );
    let glob = |pattern: &str, made_by| InputKind::Glob { pattern: pattern.to_owned(), made_by };
    assert_eq!(*kind("deep"), glob("build/site/**/*.html", vec![made(0)]));
    // A folder may hold whatever a pattern asks for.
    assert_eq!(*kind("wide"), glob("**/*.csv", vec![made(0), made(1)]));
    assert_eq!(*kind("gather"), InputKind::Stage { outputs: vec![made(0), made(1)] });
    let apart = instance(&pipeline, "apart");
    assert_eq!(apart.inputs[2].kind, InputKind::Environment { variable: "LANG".to_owned() });
    assert_eq!(apart.inputs[3].kind, InputKind::Command { command: shell("uname -m") });
    assert!(apart.inputs[4].optional);
}

#[test]
fn a_matrix_is_multiplied_out_with_the_last_list_fastest() {
    let text = r#"
        [stages.grid]
        run = ["echo", "{{ matrix.year + 1 }}"]
        matrix = { year = [2013, 2014], what = ["UA", "a b", "", "x,y"], day = [2024-02-29] }
        [stages.next]
        matrix = { year = [2013, 2014] }
        run = "true"
        inputs = ["{{ matrix.year }}.csv"]
        [stages.make]
        matrix = { year = [2013, 2014] }
        run = "true"
        outputs = ["{{ matrix.year }}.csv"]
    "#;
    let pipeline = pipeline(text, &[]);
    let names: Vec<String> = pipeline.instances.iter().map(|instance| instance.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "grid[2013,UA,2024-02-29]",
            "grid[2013,\"a b\",2024-02-29]",
            "grid[2013,\"\",2024-02-29]",
            "grid[2013,\"x,y\",2024-02-29]",
            "grid[2014,UA,2024-02-29]",
            "grid[2014,\"a b\",2024-02-29]",
            "grid[2014,\"\",2024-02-29]",
            "grid[2014,\"x,y\",2024-02-29]",
            "next[2013]",
            "next[2014]",
            "make[2013]",
            "make[2014]",
        ]
    );
    assert_eq!(pipeline.instances[7].command.argv(), ["echo", "2015"]);
    assert_eq!(needs(&pipeline, "next[2014]"), ["make[2014]"]);
}

#[test]
fn templates_hold_values_of_every_type() {
    let text = r#"
        [params]
        text = "a b"
        number = 3
        share = 1.0
        flag = true
        day = 2024-02-29
        time = 07:32:00
        at = 2024-02-29 07:32:00
        instant = 2024-02-29T07:32:00Z
        [stages.a]
        run = ["{{ params.text }}", "{{ params.number }}", "{{ params.share }}", "{{ params.flag }}", "{{ params.day }}",
               "{{ params.time }}", "{{ params.at }}", "{{ params.instant }}", "{{ params.text | upper }}",
               "{{ stage.name }}", "{{ run.logical_time }}", "{{ run.id }}", "{{ inputs[0] }}", "{{ outputs[0] }}",
               "{{ inputs | length }}", "{{ 'x' if params.flag else 'y' }}"]
        inputs = ["./in.csv"]
        outputs = ["out/"]
        stdout = "log.txt"
        salt = "{{ params.number }}"
        tools = ["awk", "python{{ params.number }}"]
        [stages.b]
        run = "cat {{ inputs.raw }} > {{ outputs.stdout }} # {{ outputs.x }}"
        inputs = { raw = "in.csv" }
        outputs = { x = "x.csv" }
        stdout = "b.txt"
    "#;
    let pipeline = pipeline(text, &["in.csv"]);
    assert!(pipeline.volatile);
    let a = instance(&pipeline, "a");
    assert_eq!(
        a.command.argv(),
        [
            "a b",
            "3",
            "1.0",
            "true",
            "2024-02-29",
            "07:32:00",
            "2024-02-29T07:32:00",
            "2024-02-29T07:32:00Z",
            "A B",
            "a",
            "2024-02-29T12:00:00Z",
            "00000000-0000-0000-0000-000000000000",
            "in.csv",
            "out",
            "1",
            "x"
        ]
    );
    assert_eq!(a.salt.as_deref(), Some("3"));
    assert_eq!(a.tools, ["awk", "python3"]);
    let kinds: Vec<(&str, OutputKind)> =
        a.outputs.iter().map(|output| (output.name.as_str(), output.kind)).collect();
    assert_eq!(kinds, [("", OutputKind::Folder), ("stdout", OutputKind::Stdout)]);
    assert_eq!(instance(&pipeline, "b").command, shell("cat in.csv > b.txt # x.csv"));
    assert_eq!(pipeline.params["share"], ParamValue::Float(1.0));
    assert_eq!(pipeline.params["at"], ParamValue::LocalDatetime("2024-02-29T07:32:00".to_owned()));
}

#[test]
fn the_text_around_templates_is_left_alone() {
    let text = r#"
        [stages.a]
        run = '''
        x=abc; echo ${#x} ${x%%c} '{"a":{"b":1}}' "$(date +%s)"
        docker ps --format '{{ "{{.Names}} {{.ID}}" }}' # {{ '{%' }}
        '''
    "#;
    let pipeline = pipeline(text, &[]);
    let Command::Shell { script, .. } = &pipeline.instances[0].command else { panic!("a shell") };
    assert!(script.contains(r#"echo ${#x} ${x%%c} '{"a":{"b":1}}' "$(date +%s)""#), "{script}");
    assert!(script.contains("--format '{{.Names}} {{.ID}}' # {%"), "{script}");
}

#[test]
fn the_command_line_sets_params_by_the_type_of_their_default() {
    let text = r#"
        [params]
        year = 2013
        share = 0.5
        full = false
        day = 2024-02-29
        name = "a"
        [stages.a]
        run = ["{{ params.year }}", "{{ params.share }}", "{{ params.full }}", "{{ params.day }}", "{{ params.name }}"]
    "#;
    let set = [
        ("year", "1"),
        ("year", "-7"),
        ("share", "2"),
        ("full", "true"),
        ("day", "2023-01-01"),
        ("name", "= {{ x }}"),
    ];
    let loaded = load_with(text, &with_params(&set), &Disk::default()).unwrap();
    // The last word counts, and a value is never a template.
    assert_eq!(loaded.pipeline.instances[0].command.argv(), ["-7", "2.0", "true", "2023-01-01", "= {{ x }}"]);
}

#[test]
fn retries_of_a_bare_number_come_after_the_first_try() {
    let attempts = |retries: &str| {
        let pipeline = pipeline(&format!("[stages.a]\nrun = \"true\"\nretries = {retries}\n"), &[]);
        pipeline.instances[0].policy.retries
    };
    assert_eq!(attempts("0"), Retries::default());
    assert_eq!(attempts("3").attempts, 4);
    assert_eq!(attempts("{ attempts = 3 }").attempts, 3);
    assert_eq!(attempts("{ attempts = 3, delay = \"1h\" }").max_delay_ms, 3_600_000);
}

#[test]
fn a_variable_that_a_stage_passes_on_is_not_the_pipelines() {
    let text = r#"
        [env]
        LANG = "C"
        TZ = "UTC"
        [stages.a]
        run = "true"
        env = { TZ = "Europe/Berlin" }
        pass_env = ["LANG", "HOME", "LANG"]
        shell = ["sh", "-c"]
    "#;
    let pipeline = pipeline(text, &[]);
    let a = &pipeline.instances[0];
    assert_eq!(a.env, BTreeMap::from([("TZ".to_owned(), "Europe/Berlin".to_owned())]));
    assert_eq!(a.pass_env, ["HOME", "LANG"]);
    assert_eq!(a.command, Command::Shell { shell: vec!["sh".into(), "-c".into()], script: "true".into() });
}

#[test]
fn the_world_is_asked_from_the_files_folder() {
    let text = r#"
        [pipeline]
        workdir = "./work/"
        [stages.a]
        run = "true"
        inputs = ["in.csv", "raw/*.csv", '\[odd\].csv']
        outputs = ["pipeline.toml"]
    "#;
    let pipeline = pipeline(text, &["work/in.csv", "work/raw/a.csv", "work/[odd].csv"]);
    assert_eq!(pipeline.workdir, Some(path("work")));
    let kinds: Vec<&InputKind> = pipeline.instances[0].inputs.iter().map(|input| &input.kind).collect();
    assert_eq!(*kinds[1], InputKind::Glob { pattern: "raw/*.csv".to_owned(), made_by: vec![] });
    let source = |text| InputKind::Path { path: path(text), made_by: None, holds: vec![] };
    assert_eq!((kinds[0], kinds[2]), (&source("in.csv"), &source("[odd].csv")));
    // The same files elsewhere are not found, though one of like name is proposed.
    let report = faults(text, &["in.csv", "raw/a.csv", "work/ni.csv"]);
    assert_eq!(codes_of(&report), ["CRN0506", "CRN0507", "CRN0506"]);
    assert_eq!(report.diagnostics[0].help.as_deref(), Some("did you mean `ni.csv`?"));
}

#[test]
fn a_pipeline_without_a_name_takes_one_from_its_file() {
    let named = |default: &str| {
        let options = Options { default_name: default.to_owned(), ..options() };
        load_with("[stages.a]\nrun = \"true\"\n", &options, &Disk::default())
            .unwrap()
            .pipeline
            .name
            .to_string()
    };
    assert_eq!(named("flights"), "flights");
    assert_eq!(named("My Flights (2)"), "my-flights--2");
    assert_eq!(named("…"), "pipeline");
}

#[test]
fn dotted_keys_and_inline_tables_are_stages_too() {
    let pipeline = pipeline("stages.b.run = \"true\"\nstages.a = { run = \"true\", needs = [\"b\"] }\n", &[]);
    assert_eq!(needs(&pipeline, "a"), ["b"]);
}

#[test]
fn a_fault_of_one_stage_is_no_fault_of_those_that_wait_for_it() {
    // `b` reads what `a` would write if its template were right.
    let text = "[stages.a]\nrun = \"true\"\noutputs = [\"{{ params.x }}.csv\"]\n[stages.b]\nrun = \"true\"\ninputs = [\"1.csv\"]\n";
    assert_eq!(codes(text, &[]), ["CRN0402"]);
}

/// The longest expressions fit a thread's stack, however they nest.
#[test]
fn an_expression_as_long_as_may_be() {
    let check = |expression: String| {
        let text = format!("[stages.a]\nrun = ['x', '{{{{ {expression} }}}}']\n");
        // Whether it has a value does not matter.
        let _ = load_with(&text, &options(), &Disk::default());
    };
    check("not ".repeat(499) + "1");
    check("-".repeat(499) + "1");
    check("1 + ".repeat(249) + "1");
    check("2 ** ".repeat(166) + "1");
    check("1".to_owned() + &"|string".repeat(249));
    check("stage".to_owned() + &".a".repeat(249));
    check("1 if 1 else ".repeat(124) + "1");
    check("1 not in ".repeat(166) + "1");
    check("range(".repeat(40) + "1" + &")".repeat(40));
    check("[".repeat(40) + "1" + &"]".repeat(40));
    check("{1:".repeat(40) + "1" + &" }".repeat(40));
    check("stage".to_owned() + &"[stage".repeat(40) + &"]".repeat(40));
    check("(1 if ".repeat(40) + "1" + &" else 1)".repeat(40));
    check("(".repeat(40) + &"not ".repeat(419) + "1" + &")".repeat(40));
}

#[test]
fn an_interval_is_in_what_refers_to_it_and_in_nothing_else() {
    let text = "[schedule]\ncron = \"0 0 * * *\"\ntimezone = \"Europe/Berlin\"\n\
        [stages.a]\nrun = \"echo {{ interval.start }} > {{ outputs[0] }}\"\noutputs = [\"a-{{ interval.start | date('%Y%m%d') }}\"]\n\
        [stages.b]\nrun = \"echo $CAIRN_INTERVAL_END > b\"\noutputs = [\"b\"]\n\
        [stages.c]\nrun = \"echo > c\"\noutputs = [\"c\"]\n";
    // The day of 2026-03-29 in Berlin, which has 23 hours.
    let interval =
        Interval { start: Timestamp(1_774_738_800_000), end: Timestamp(1_774_738_800_000 + 23 * 3_600_000) };
    let options = options();
    let options = Options { run: RunContext { interval: Some(interval), ..options.run }, ..options };
    let pipeline = load_with(text, &options, &Disk::of(&[])).unwrap().pipeline;
    let Command::Shell { script, .. } = &instance(&pipeline, "a").command else { panic!("no shell") };
    assert_eq!(script, "echo 2026-03-29T00:00:00+01:00 > a-20260329");
    assert_eq!(instance(&pipeline, "b").env["CAIRN_INTERVAL_END"], "2026-03-30T00:00:00+02:00");
    assert!(instance(&pipeline, "c").env.is_empty());
}
