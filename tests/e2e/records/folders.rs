//! A source that is a folder: all files in it.

use std::os::unix::ffi::OsStrExt as _;

use super::*;

/// A stage that makes a folder with the script's help, and one that loads it.
fn made_and_loaded(script: &str) -> Project {
    let load = to_sqlite(KEYED).replace("source = \"in/*\"", "source = \"out\"");
    let make = format!("[stages.make]\nrun = '''{script}'''\noutputs = [\"out/\"]\n[stages.load.records]");
    Project::with_pipeline(BINARY, &load.replace("[stages.load.records]", &make))
}

#[test]
fn a_folder_is_all_files_in_it_whoever_made_it() {
    let project = Project::with_pipeline(BINARY, &to_sqlite(KEYED).replace("\"in/*\"", "\"in\""));
    project.write("in/a.jsonl", "{\"id\":1}\n");
    project.write("in/deep/er/b.csv", "id\n2\n");
    project.write("in/deep/ä c.jsonl", "{\"id\":3}\n");
    assert_eq!(load(&project), "new=3");
    assert_eq!(run(&project, &[]), "load=FRESH");
    project.write("in/deep/d.jsonl", "{\"id\":4}\n");
    assert_eq!(load(&project), "new=1 same=3");

    let project = made_and_loaded(
        "mkdir -p out/deep; echo '{\"id\":1}' > out/a.jsonl; echo '{\"id\":2}' > out/deep/b.jsonl",
    );
    assert_eq!(run(&project, &[]), "load=RAN make=RAN");
    assert_eq!(rows(&project), "1 2");
}

/// Left out in silence, its records would be lost.
#[test]
fn a_file_of_a_folder_whose_name_cannot_be_kept_is_told_of() {
    let project = Project::with_pipeline(BINARY, &to_sqlite(KEYED).replace("\"in/*\"", "\"in\""));
    project.write("in/a.jsonl", "{\"id\":1}\n");
    for (name, why) in [(&b"c\td.jsonl"[..], "control character"), (b"c\xff.jsonl", "not UTF-8")] {
        let path = project.file("in").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&path, "{\"id\":2}\n").unwrap();
        let said = fails(&project);
        assert!(said.contains("in/c") && said.contains(why) && said.contains("rename"), "{said}");
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(load(&project), "new=1");

    let project = made_and_loaded(
        "mkdir -p out; echo '{\"id\":1}' > out/a.jsonl; echo '{\"id\":2}' > \"$(printf 'out/b\\tc.jsonl')\"",
    );
    let said = fails(&project);
    assert!(said.contains("out/b\\tc.jsonl") && said.contains("rename the file"), "{said}");
}
