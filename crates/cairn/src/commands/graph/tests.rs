use cairn_model::{Counts, Outcome};

use super::*;
use crate::terminal::Stream;

/// A picture of `name: needs…` lines, in an order in which they can run.
fn picture(lines: &[&str]) -> Picture {
    let names: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    let needs: Vec<Vec<usize>> = lines
        .iter()
        .map(|line| {
            let words = line.split_once(':').unwrap().1.split_whitespace();
            let mut needs: Vec<usize> =
                words.map(|word| names.iter().position(|name| *name == word).unwrap()).collect();
            needs.sort_unstable();
            needs
        })
        .collect();
    let order = lanes::order(&needs);
    let place = |node: usize| order.iter().position(|at| *at == node).unwrap();
    let needs: Vec<Vec<usize>> = order
        .iter()
        .map(|node| {
            let mut needs: Vec<usize> = needs[*node].iter().map(|need| place(*need)).collect();
            needs.sort_unstable();
            needs
        })
        .collect();
    let drawn = lanes::reduce(&needs);
    let stages = order.iter().zip(needs).zip(drawn).map(|((node, needs), drawn_needs)| Stage {
        name: names[*node].to_owned(),
        description: String::new(),
        instances: 1,
        needs,
        drawn_needs,
        outcomes: None,
    });
    Picture { pipeline: "p".into(), stages: stages.collect() }
}

fn flights() -> Picture {
    let mut picture = picture(&[
        "clean:",
        "clean-weather:",
        "carrier: clean",
        "carriers: carrier",
        "hours: clean",
        "calendar: clean",
        "weather: clean clean-weather",
        "destinations: clean",
        "plot: calendar carriers destinations hours weather",
        "report: clean calendar carriers destinations hours weather plot",
        "site: report plot calendar carriers",
    ]);
    for stage in &mut picture.stages {
        let mut counts = Counts::default();
        match stage.name.as_str() {
            "carrier" => {
                stage.instances = 16;
                counts = Counts { ran: 1, fresh: 15, ..counts };
            }
            "plot" => {
                stage.instances = 5;
                counts = Counts { blocked: 5, ..counts };
            }
            "weather" => counts.add(Outcome::Failed),
            "report" | "site" => counts.add(Outcome::Blocked),
            _ => counts.add(Outcome::Fresh),
        }
        stage.outcomes = Some(counts);
        stage.description = format!("What {} is for", stage.name);
    }
    picture
}

fn draw(picture: &Picture, columns: Option<usize>) -> String {
    text::draw(picture, Stream::fixed(columns, false))
}

#[test]
fn flights_with_states() {
    insta::assert_snapshot!(draw(&flights(), Some(90)), @r"
    ●            clean          FRESH            What clean is for
    ├─●          carrier ×16    1 RAN, 15 FRESH  What carrier is for
    │ ●          carriers       FRESH            What carriers is for
    ├─│─●        hours          FRESH            What hours is for
    ├─│─│─●      calendar       FRESH            What calendar is for
    ├─│─│─│─●    destinations   FRESH            What destinations is for
    │ │ │ │ │ ●  clean-weather  FRESH            What clean-weather is for
    ✗─│─│─│─│─╯  weather        FAILED           What weather is for
    ○─┴─┴─┴─╯    plot ×5        BLOCKED          What plot is for
    ○            report         BLOCKED          What report is for
    ○            site           BLOCKED          What site is for
    ");
    insta::assert_snapshot!(draw(&flights(), Some(40)), @r"
    ●            clean          FRESH
    ├─●          carrier ×16    1 RAN, 15 FRESH
    │ ●          carriers       FRESH
    ├─│─●        hours          FRESH
    ├─│─│─●      calendar       FRESH
    ├─│─│─│─●    destinations   FRESH
    │ │ │ │ │ ●  clean-weather  FRESH
    ✗─│─│─│─│─╯  weather        FAILED
    ○─┴─┴─┴─╯    plot ×5        BLOCKED
    ○            report         BLOCKED
    ○            site           BLOCKED
    ");
}

#[test]
fn small_shapes() {
    insta::assert_snapshot!(draw(&picture(&["a:", "b: a", "c: b"]), None), @r"
    ○  a
    ○  b
    ○  c
    ");
    insta::assert_snapshot!(draw(&picture(&["a:", "b:", "c:"]), None), @r"
    ○    a
      ○  b
    ○    c
    ");
    insta::assert_snapshot!(draw(&picture(&["a:", "b: a", "c: a", "d: b c"]), None), @r"
    ○    a
    ├─○  b
    ○ │  c
    ○─╯  d
    ");
    insta::assert_snapshot!(draw(&picture(&["a:", "b:", "c:", "d: a b c"]), None), @r"
    ○      a
    │ ○    b
    │ │ ○  c
    ○─┴─╯  d
    ");
    insta::assert_snapshot!(draw(&picture(&["a:", "b: a", "x:", "y: x", "c: a"]), None), @r"
    ○    a
    ├─○  b
    ○    c
      ○  x
      ○  y
    ");
    insta::assert_snapshot!(draw(&picture(&["a:", "b:", "c: a b", "d: a b", "e: c d", "f: a"]), None), @r"
    ○      a
    ├─○    f
    │   ○  b
    ├─○─┤  c
    ○─│─╯  d
    ○─╯    e
    ");
}

#[test]
fn dot_and_mermaid_name_every_stage_and_line() {
    let mut picture = picture(&["a:", "end: a", "c: a end"]);
    picture.stages[1].instances = 3;
    picture.stages[1].outcomes = Some(Counts { failed: 1, fresh: 2, ..Counts::default() });
    picture.stages[0].description = "says \"hi\" \\ <b>".into();
    insta::assert_snapshot!(dot::draw(&picture), @r##"
    digraph "p" {
      rankdir=LR;
      node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];
      "a" [label="a", tooltip="says \"hi\" \\ <b>", fillcolor="white"];
      "end" [label="end ×3\nFAILED", tooltip="end", fillcolor="#ffcdd2"];
      "c" [label="c", tooltip="c", fillcolor="white"];
      "a" -> "end";
      "end" -> "c";
    }
    "##);
    insta::assert_snapshot!(mermaid::draw(&picture), @r#"
    flowchart LR
      s0["a"]
      s1["end ×3"]:::failed
      s2["c"]
      s0 --> s1
      s1 --> s2
      classDef failed fill:#ffcdd2,stroke:#c62828,color:#000
    "#);
}

/// Reads the picture back: follows the lines from each node and compares with what they stand for.
fn lines_of(rows: &[lanes::Row]) -> Vec<Vec<usize>> {
    use lanes::Cell;
    let mut owners: Vec<Option<usize>> = Vec::new();
    let mut found = Vec::new();
    for (node, row) in rows.iter().enumerate() {
        owners.resize(row.cells.len(), None);
        let own = row.cells.iter().position(|cell| *cell == Cell::Node).unwrap();
        let mut needs = Vec::new();
        needs.extend(owners[own]);
        for step in [-1_isize, 1] {
            let mut at = own;
            loop {
                let between = if step < 0 { at.checked_sub(1) } else { Some(at) };
                if !between.is_some_and(|between| row.joined[between]) {
                    break;
                }
                at = at.checked_add_signed(step).unwrap();
                match row.cells[at] {
                    Cell::Lines { up: true, .. } => {
                        needs.push(owners[at].expect("a line from above has an owner"));
                    }
                    Cell::Lines { up: false, .. } | Cell::Crossing => {}
                    Cell::Empty | Cell::Node => panic!("a line ends in nothing: {row:?}"),
                }
            }
        }
        for (lane, cell) in row.cells.iter().enumerate() {
            match cell {
                Cell::Lines { down: true, .. } | Cell::Crossing => {}
                Cell::Lines { down: false, .. } | Cell::Empty => owners[lane] = None,
                Cell::Node => {
                    // Whether it goes on downwards, the next row tells.
                    let below = rows.get(node + 1).and_then(|row| row.cells.get(lane));
                    let goes_on = match below {
                        Some(Cell::Lines { up, .. }) => *up,
                        Some(Cell::Crossing | Cell::Node) => true,
                        Some(Cell::Empty) | None => false,
                    };
                    owners[lane] = goes_on.then_some(node);
                }
            }
        }
        needs.sort_unstable();
        found.push(needs);
    }
    found
}

proptest::proptest! {
    /// No line is lost and none is made up, whatever the graph.
    #[test]
    fn the_drawing_says_what_the_graph_says(edges in proptest::collection::vec((0_usize..14, 0_usize..14), 0..40)) {
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); 14];
        for (one, other) in edges {
            if one != other {
                needs[one.max(other)].push(one.min(other));
            }
        }
        for list in &mut needs {
            list.sort_unstable();
            list.dedup();
        }
        let reduced = lanes::reduce(&needs);
        proptest::prop_assert_eq!(lines_of(&lanes::rows(&reduced)), reduced.clone());
        // What was left out is implied.
        let mut above: Vec<std::collections::BTreeSet<usize>> = Vec::new();
        for list in &reduced {
            let all = list.iter().flat_map(|need| above[*need].iter().copied().chain([*need])).collect();
            above.push(all);
        }
        for (node, list) in needs.iter().enumerate() {
            proptest::prop_assert!(list.iter().all(|need| above[node].contains(need)));
        }
    }

    #[test]
    fn the_order_puts_needs_first(edges in proptest::collection::vec((0_usize..20, 0_usize..20), 0..60)) {
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); 20];
        for (one, other) in edges {
            // Not in the order of their numbers.
            let (one, other) = (one * 7 % 20, other * 7 % 20);
            if one * 3 % 20 > other * 3 % 20 {
                needs[one].push(other);
            }
        }
        for list in &mut needs {
            list.sort_unstable();
            list.dedup();
        }
        let order = lanes::order(&needs);
        proptest::prop_assert_eq!(order.len(), 20);
        let place = |node: usize| order.iter().position(|at| *at == node).unwrap();
        for (node, list) in needs.iter().enumerate() {
            proptest::prop_assert!(list.iter().all(|need| place(*need) < place(node)));
        }
    }
}
