//! `cairn` alone, `--help`, `--version`.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::BINARY;
use super::see;

#[test]
fn alone() {
    assert_snapshot!(see(&Project::new(BINARY), &[]), @"
    exit status: 0
    ----- stdout -----
    Idempotent pipelines: what is done is not done again, and what was cut off goes on where it stopped

    Usage: cairn [OPTIONS] [COMMAND]

    Commands:
      init      Make a small working project
      check     Find all errors in pipeline files
      plan      Show what `run` would do, and why
      run       Make what is not done
      resume    Go on with a run that failed or was cut off
      status    Show how each pipeline stands
      runs      List runs
      show      Show a run, or one instance of it
      logs      Show what a run's commands printed
      why       Tell which part of an input-hash changed
      graph     Draw a pipeline with its states
      verify    Find out whether stages are idempotent
      schedule  Tell when pipelines run by themselves
      backfill  Run a pipeline for each interval of a stretch of time
      effects   Show effects in outside systems; settle those in doubt, undo them
      dead      Show, try again or drop what failed for good
      once      Run a command unless it is known to have succeeded
      seen      Pass on records that were not had before
      mark      Keep a value for the next attempt
      reject    Make records dead letters

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
          --project <DIR>  The project's folder [default: the nearest one with a `cairn.toml`]
          --state <DIR>    Where state is kept [default: `.cairn` in the project] [env: `CAIRN_STATE`]
          --color <WHEN>   When to colour: auto, always or never; `NO_COLOR` and pipes turn auto off
      -q, --quiet          Show failures only
      -v, --verbose...     Log what is decided and why; twice, thrice: more.
                           `CAIRN_LOG=cairn_store=debug` chooses parts

    Examples:
      cairn init            a first pipeline to play with
      cairn run             make what is not done; again: nothing is left to do
      cairn COMMAND --help  more on a command
    ");
}

#[test]
fn of_two_commands() {
    let project = Project::new(BINARY);
    assert_snapshot!(see(&project, &["run", "--help"]), @"
    exit status: 0
    ----- stdout -----
    Make what is not done

    Usage: cairn run [OPTIONS] [FILE] [STAGE]...

    Arguments:
      [FILE]      The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where
                  there is only one
      [STAGE]...  Stages to make, with all they need; one instance of a matrix as `STAGE[COORDINATES]`
                  [default: all]

    Options:
      -p, --param <NAME=VALUE>  Set a param to another value than the file does
          --at <TIME>           The run's logical time, as if it were started then: a date, or RFC 3339
                                [default: now]
          --interval <FROM/TO>  What the run is about: from the first time up to, without, the second
                                [default: the schedule's last]
      -j, --jobs <N>            Instances that run at once [default: `jobs` in `cairn.toml`, else the
                                processors]
      -k, --keep-going          After a failure, make all that does not depend on it
          --frozen              Execute nothing: fail with status 3 when something would run
          --rollback            When a stage fails for good, undo the run's effects, the last one first
          --fail-on-dead        End with status 1 when the pipeline has dead records
      -n, --dry-run             Show what would be done, and why, and do nothing: as `cairn plan`
          --json                Print each event as a JSON object on a line
      -h, --help                Print help

    Selection:
          --force[=<STAGE>]  Execute what is selected, or STAGE of it, although it has a checkpoint
          --force-effects    Do effects again that took place: those of what --force names, else all
                             that are selected
          --from <STAGE>     Execute STAGE and all that depends on it, and make what these need
          --only <STAGE>     Make STAGE and nothing else: what it needs must be done

    Global options:
          --project <DIR>  The project's folder [default: the nearest one with a `cairn.toml`]
          --state <DIR>    Where state is kept [default: `.cairn` in the project] [env: `CAIRN_STATE`]
          --color <WHEN>   When to colour: auto, always or never; `NO_COLOR` and pipes turn auto off
      -q, --quiet          Show failures only
      -v, --verbose...     Log what is decided and why; twice, thrice: more.
                           `CAIRN_LOG=cairn_store=debug` chooses parts

    Examples:
      cairn run                    all of the only pipeline here
      cairn run -p year=2014 -j 8  with another param, eight at once
      cairn run flights report     of the pipeline `flights`, `report` and what it needs
      cairn run --from clean       over again from `clean` on
      cairn run --frozen           check that nothing is left to do
    ");
    assert_snapshot!(see(&project, &["logs", "--help"]), @r"
    exit status: 0
    ----- stdout -----
    Show what a run's commands printed

    Usage: cairn logs [OPTIONS] [RUN] [STAGE]

    Arguments:
      [RUN]    The run: the beginning or the end of its id, or `latest`; may be left out before STAGE
               [default: latest]
      [STAGE]  A stage or an instance of it

    Options:
      -f, --follow      Go on as more is printed, until the run ends
      -t, --timestamps  Put the time before each line
          --json        Print each piece as a JSON object on a line
      -h, --help        Print help

    Global options:
          --project <DIR>  The project's folder [default: the nearest one with a `cairn.toml`]
          --state <DIR>    Where state is kept [default: `.cairn` in the project] [env: `CAIRN_STATE`]
          --color <WHEN>   When to colour: auto, always or never; `NO_COLOR` and pipes turn auto off
      -q, --quiet          Show failures only
      -v, --verbose...     Log what is decided and why; twice, thrice: more.
                           `CAIRN_LOG=cairn_store=debug` chooses parts

    Examples:
      cairn logs                          of the latest run
      cairn logs [RUN] report          of one stage in a run
      cairn logs latest 'carrier[UA]' -f  of one instance, and on as it prints
      cairn logs --timestamps             each line with its time
    ");
}

/// What is said of the arguments is what the usage says.
#[test]
fn of_why() {
    let help = Project::new(BINARY).cairn(&["why", "--help"]).expect(0).stdout;
    assert!(help.contains("Usage: cairn why [OPTIONS] [FILE] STAGE"), "{help}");
    assert!(!help.contains("<FILE> [STAGE]..."), "FILE can be left out, and STAGE is one: {help}");
    assert!(!help.contains("for this run"), "there is no run: {help}");
}

#[test]
fn of_all() {
    let long = Project::new(BINARY).cairn(&["--help"]).expect(0);
    for status in [
        "0  all done",
        "1  a stage failed",
        "2  the definition",
        "3  `--frozen`",
        "5  the store",
        "130  interrupted",
    ] {
        assert!(long.stdout.contains(status), "{}", long.stdout);
    }
}

#[test]
fn the_version() {
    let outcome = Project::new(BINARY).cairn(&["--version"]).expect(0);
    assert_eq!(outcome.stdout, format!("cairn {}\n", env!("CARGO_PKG_VERSION")));
}
