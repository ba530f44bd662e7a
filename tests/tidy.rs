//! Holds the structure: which crate may use which, what is named where, and that the documents speak of what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// Which of our crates each may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("dag", &["model"]),
    ("content", &["model"]),
    ("store", &["model"]),
    ("records", &["model"]),
    ("notes", &[]),
    ("executor", &["model", "content", "dag", "store", "records", "notes"]),
    ("scheduler", &["model", "dag", "executor", "store"]),
    ("server", &["model", "dag", "executor", "scheduler", "store"]),
    ("cairn", &["model", "dag", "content", "store", "executor", "scheduler", "records", "server", "notes"]),
    ("testkit", &[]),
];

/// Crates that only one of ours may name.
const OWNERS: &[(&str, &str)] = &[
    ("rocksdb", "store"),
    ("petgraph", "dag"),
    ("minijinja", "dag"),
    ("rusqlite", "records"),
    ("tokio-postgres", "records"),
    ("opentelemetry", "cairn"),
    ("opentelemetry-otlp", "cairn"),
    ("opentelemetry_sdk", "cairn"),
];

fn manifests() -> BTreeMap<String, toml::Table> {
    let crates = fs::read_dir(root().join("crates")).expect("crates").flatten();
    crates
        .map(|entry| {
            let text = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a manifest");
            (entry.file_name().to_string_lossy().into_owned(), text.parse().expect("TOML"))
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let manifests = manifests();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        manifests.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "each crate has its arrows here"
    );
    for (name, allowed) in ARROWS {
        for dependency in dependencies(&manifests[*name]) {
            if let Some(ours) = dependency.strip_prefix("cairn-") {
                assert!(allowed.contains(&ours), "`{name}` must not use `{ours}`");
            }
            for (owned, owner) in OWNERS {
                assert!(
                    dependency != *owned || name == owner,
                    "only `{owner}` may use `{owned}`, not `{name}`"
                );
            }
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_stays_in_isolation() {
    let mut found = Vec::new();
    sources(&root().join("crates"), &mut found);
    for path in found {
        let text = fs::read_to_string(&path).expect("a source file");
        let uses = text
            .lines()
            .any(|line| line.contains("expect(unsafe_code") || line.contains("allow(unsafe_code"));
        let may = path.starts_with(root().join("crates/executor/src/isolation"));
        assert!(!uses || may, "`{}` opts out of `deny(unsafe_code)`", path.display());
    }
}

#[test]
fn every_end_to_end_test_is_run() {
    for folder in ["tests/e2e", "tests/crash"] {
        let folder = root().join(folder);
        let main = fs::read_to_string(folder.join("main.rs")).expect("the test's main file");
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
            assert!(main.contains(&format!("mod {module};")), "`{name}` is in no test binary");
        }
    }
}

/// Every `path` in backquotes that looks like one of the repository's must be there.
#[test]
fn documents_name_only_paths_that_exist() {
    let mut documents = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("docs").flatten();
    documents
        .extend(docs.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md")));
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document");
        for quoted in text.split('`').skip(1).step_by(2) {
            let ours = ["crates/", "tests/", "docs/", "scripts/", "pipelines/"]
                .iter()
                .any(|top| quoted.starts_with(top));
            let plain = !quoted.contains(['*', ' ', '<', '{', '\n', '$']);
            if ours && plain {
                let path = quoted.split("::").next().unwrap_or(quoted).trim_end_matches('/');
                assert!(root().join(path).exists(), "`{}` names `{quoted}`", document.display());
            }
        }
    }
}
