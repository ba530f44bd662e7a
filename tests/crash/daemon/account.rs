//! What there is in the end, against what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::load::{ASKED, FAILS, Fate, KEEPER_KILLED, Load, Request, SCHEDULED};

/// Checks all counts.
pub(super) fn settle(load: &Load, asked: &[Request], called: usize) {
    let runs = load.runs();
    let mut by_pipeline: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
    let cancelled: BTreeSet<&str> =
        asked.iter().filter(|request| request.cancelled).map(|request| request.run.as_str()).collect();
    let to_end: BTreeSet<&str> =
        asked.iter().filter(|request| request.is_to_end).map(|request| request.run.as_str()).collect();
    for run in &runs {
        // It may just have done all that it was to do; that it was to end is known nevertheless.
        let is_lost = to_end.contains(text(run, "id")) && run["cancelled"].is_null();
        assert!(!is_lost, "a cancel that was answered is lost: {run}");
        let ended = run["status"] == "interrupted" && cancelled.contains(text(run, "id"));
        let good = if text(run, "pipeline") == FAILS { "failed" } else { "succeeded" };
        assert!(run["status"] == good || ended, "{run}");
        let twice = by_pipeline.entry(text(run, "pipeline")).or_default().insert(text(run, "id"), run);
        assert!(twice.is_none(), "listed twice: {run}");
    }
    let of_keys: BTreeSet<&str> = asked.iter().map(|request| request.run.as_str()).collect();
    let keys: BTreeSet<&str> = asked.iter().map(|request| request.key.as_str()).collect();
    assert_eq!((of_keys.len(), keys.len()), (asked.len(), asked.len()), "a run a key");
    let of_clients = ASKED.iter().flat_map(|name| by_pipeline[name].keys().copied()).collect();
    assert_eq!(of_keys, of_clients, "runs that were asked for and runs that there are");
    assert!(asked.len() > 20, "clients were served: {}", asked.len());
    for (name, seconds) in SCHEDULED {
        times(name, seconds, &load.fates[name], &by_pipeline[name]);
    }
    follows(&by_pipeline);
    assert_eq!(by_pipeline["called"].len(), called, "a run a call");
    executed(load, &runs, &load.executions());
    eprintln!("{} runs, {} of them asked for by clients", runs.len(), asked.len());
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

/// Each time has come once, and each run of a schedule is that of one time.
fn times(name: &str, seconds: i64, fates: &BTreeMap<String, Fate>, runs: &BTreeMap<&str, &Value>) {
    let mut before = None;
    let mut of_times = BTreeSet::new();
    for (time, fate) in fates {
        let second = time.parse::<jiff::Timestamp>().unwrap().as_second();
        if let Some(before) = before.replace(second) {
            assert_eq!(second - before, seconds, "`{name}`: the time before {time} is lost");
        }
        match fate {
            Ok(run) => {
                let found = runs.get(run.as_str());
                let found = found.unwrap_or_else(|| panic!("`{name}`: the run of {time} is lost"));
                assert_eq!(text(found, "logical_time"), time, "{found}");
                assert!(of_times.insert(run.as_str()), "`{name}`: {run} is that of two times");
            }
            Err(why) => assert!(name == "skips" && !why.is_empty(), "`{name}`: {time} was dropped: {why}"),
        }
    }
    assert!(of_times.len() > 2, "`{name}` was run");
    assert_eq!(of_times, runs.keys().copied().collect(), "`{name}`: a run is of no time");
}

/// Each run that is followed is followed once.
fn follows(by_pipeline: &BTreeMap<&str, BTreeMap<&str, &Value>>) {
    let succeeded = by_pipeline["c0"].values().filter(|run| run["status"] == "succeeded");
    let followed = succeeded.map(|run| format!("c0 {}", text(run, "short")));
    let followers = by_pipeline["follows"].values().map(|run| text(&run["trigger"], "detail").to_owned());
    let (mut followed, mut followers): (Vec<_>, Vec<_>) = (followed.collect(), followers.collect());
    followed.sort_unstable();
    followers.sort_unstable();
    assert_eq!(followed, followers);
}

/// Each command of each run was executed once; and again only where a kill of the keeper came in between.
fn executed(load: &Load, runs: &[Value], executions: &[String]) {
    let (mut keepers_killed, mut last): (usize, BTreeMap<&str, usize>) = Default::default();
    let mut again = 0;
    for line in executions {
        if line == KEEPER_KILLED {
            keepers_killed += 1;
        } else if let Some(before) = last.insert(line, keepers_killed) {
            let run = line.split(' ').next().unwrap_or_default();
            assert!(before < keepers_killed, "executed twice: {line}: {}", load.described(run));
            again += 1;
        }
    }
    for run in runs {
        let fails = matches!(text(run, "pipeline"), "flaky" | "c2");
        for stage in if fails { ["first", "a"] } else { ["a", "b"] } {
            let executed = last.remove(format!("{} {stage}", text(run, "id")).as_str()).is_some();
            // A command may have been cut off before it could write down that it began.
            let cut_off = stage == "first" && keepers_killed > 0 || run["status"] == "interrupted";
            assert!(executed || cut_off, "`{stage}` was not executed: {run}");
        }
    }
    assert_eq!(last, BTreeMap::new(), "executed for no run");
    eprintln!("{keepers_killed} kills of keepers; commands executed again after them: {again}");
}
