//! I10: time, host, user and the project's place are in no input-hash.

use cairn_testkit::Project;

use super::{BINARY, CHAIN, chain, run};

fn hashes(project: &Project) -> Vec<String> {
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    let mut hashes: Vec<String> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|event| {
            Some(format!("{} {}", event["instance"].as_str()?, event["input_hash"].as_str()?))
        })
        .collect();
    hashes.sort();
    hashes.dedup();
    hashes
}

#[test]
fn another_folder_user_time_and_layout_give_the_same_hashes() {
    let first = hashes(&chain());
    assert_eq!(first.len(), 3);
    let mut other = Project::new(BINARY);
    other
        .set_env("USER", "somebody")
        .set_env("LOGNAME", "else")
        .set_env("LANG", "de_DE.UTF-8")
        .set_env("NOISE", "1");
    let rearranged: String =
        CHAIN.replace("name = \"chain\"", "description = \"the same\" # comment\nname = \"renamed\"");
    other.write("pipeline.toml", rearranged).write("source.txt", "b\na\n");
    assert_eq!(hashes(&other), first);
}

#[test]
fn a_touched_source_and_a_renamed_stage_execute_nothing() {
    let project = chain();
    run(&project, &[]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    project.write("source.txt", "b\na\n");
    assert_eq!(run(&project, &[]), "a=FRESH b=FRESH c=FRESH");
    project.write("pipeline.toml", CHAIN.replace("[stages.b]", "[stages.count]"));
    assert_eq!(run(&project, &[]), "a=FRESH c=FRESH count=FRESH");
}

#[test]
fn logical_time_counts_only_where_it_is_referred_to() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.plain]\nrun = \"echo 1 > plain\"\noutputs = [\"plain\"]\n\
         [stages.timed]\nrun = \"echo {{ run.logical_time }} > timed\"\noutputs = [\"timed\"]\n",
    );
    assert_eq!(run(&project, &[]), "plain=RAN timed=RAN");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(run(&project, &[]), "plain=FRESH timed=RAN");
}
