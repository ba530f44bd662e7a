//! `cairn graph`: the picture, in three formats.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::BINARY;
use super::see;

const DIAMOND: &str = r#"
[pipeline]
name = "diamond"

[stages.source]
description = "Takes it"
run = "echo 1 > s"
outputs = ["s"]

[stages.left]
run = "exit 4"
inputs = ["s"]
outputs = ["l"]

[stages.right]
matrix = { n = [1, 2, 3] }
run = "cp s r{{ matrix.n }}"
inputs = ["s"]
outputs = ["r{{ matrix.n }}"]

[stages.both]
description = "Says \"all\" <of it>"
run = "cat l r* > b"
inputs = ["l", "r*", "s"]
outputs = ["b"]
"#;

#[test]
fn before_it_ran() {
    let project = Project::with_pipeline(BINARY, DIAMOND);
    assert_snapshot!(see(&project, &["graph"]), @r#"
    exit status: 0
    ----- stdout -----
    ○    source    Takes it
    ├─○  left
    ○ │  right ×3
    ○─╯  both      Says "all" <of it>
    "#);
    assert!(!project.exists(".cairn"));
}

#[test]
fn with_states() {
    let project = Project::with_pipeline(BINARY, DIAMOND);
    project.cairn(&["run", "-k", "-j1"]).expect(1);
    assert_snapshot!(see(&project, &["graph"]), @r#"
    exit status: 0
    ----- stdout -----
    ●    source    RAN      Takes it
    ├─✗  left      FAILED
    ● │  right ×3  RAN
    ○─╯  both      BLOCKED  Says "all" <of it>
    "#);
    assert_snapshot!(see(&project, &["graph", "--format", "dot"]), @r##"
    exit status: 0
    ----- stdout -----
    digraph "diamond" {
      rankdir=LR;
      node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];
      "source" [label="source\nRAN", tooltip="Takes it", fillcolor="#c8e6c9"];
      "left" [label="left\nFAILED", tooltip="left", fillcolor="#ffcdd2"];
      "right" [label="right ×3\nRAN", tooltip="right", fillcolor="#c8e6c9"];
      "both" [label="both\nBLOCKED", tooltip="Says \"all\" <of it>", fillcolor="#fff3c4"];
      "source" -> "left";
      "source" -> "right";
      "left" -> "both";
      "right" -> "both";
    }
    "##);
    assert_snapshot!(see(&project, &["graph", "--format", "mermaid"]), @r#"
    exit status: 0
    ----- stdout -----
    flowchart LR
      s0["source"]:::ran
      s1["left"]:::failed
      s2["right ×3"]:::ran
      s3["both"]:::blocked
      s0 --> s1
      s0 --> s2
      s1 --> s3
      s2 --> s3
      classDef ran fill:#c8e6c9,stroke:#2e7d32,color:#000
      classDef failed fill:#ffcdd2,stroke:#c62828,color:#000
      classDef blocked fill:#fff3c4,stroke:#b28704,color:#000
    "#);
}

/// A stage that depends on nothing does not hang on the one drawn above it.
#[test]
fn stages_of_their_own_are_drawn_apart() {
    let chain = "[stages.a]\nrun = \"echo > a\"\noutputs = [\"a\"]\n[stages.b]\nrun = \"cp a b\"\ninputs = [\"a\"]\noutputs = [\"b\"]\n";
    let tied = format!("{chain}[stages.c]\nrun = \"true\"\nneeds = [\"b\"]\n");
    let apart = format!("{chain}[stages.c]\nrun = \"true\"\n");
    let draw = |text: &str| Project::with_pipeline(BINARY, text).cairn(&["graph"]).expect(0).stdout;
    assert_ne!(draw(&tied), draw(&apart), "both are drawn as\n{}", draw(&tied));
}
