//! Which instances a run is about: from names on the command line to a set.
//!
//! | asked | selected | forced |
//! | --- | --- | --- |
//! | nothing | all | none |
//! | `STAGE…` | these and all they need, directly or not | none |
//! | `--only S` | `S` and nothing else | none |
//! | `--from S` | `S`, all that depends on it, and all these need | `S` and all that depends on it |
//! | `STAGE… --from S` | as by `STAGE…` | of these, `S` and all that depends on it |
//! | `--force` | as without | all that is selected, as `make -B` |
//! | `--force=S` | as without | of what is selected, `S` |
//!
//! Forced is executed whatever the checkpoints say. `--force=S` leaves it to the bytes that `S` makes whether what
//! depends on it runs; `--from S` does not: "do it over from here", as Metaflow's `resume STEP` and Airflow's `clear
//! --downstream`. (`dvc repro --downstream` forces nothing; here that would be no more than a run.) What `--only` leaves
//! out must have been done before: [`Selection::required`].
//!
//! `S` is a stage, for all its instances, or one instance as `STAGE[coordinates]`, exactly.

use std::collections::BTreeMap;

use cairn_model::InstanceName;

use crate::step::Dependents;

/// An instance, as far as selection needs to know it.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a InstanceName,
    /// Those it needs directly, as indices.
    pub needs: &'a [u32],
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// What is to be made.
    pub target: Target,
    /// `--from`: stages or instances.
    pub from: Vec<String>,
    /// `--force`.
    pub force: Force,
}

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// Everything.
    #[default]
    All,
    /// These stages or instances, and what they need.
    Named(Vec<String>),
    /// These stages or instances alone.
    Only(Vec<String>),
}

/// What is executed whatever the checkpoints say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Force {
    /// Nothing.
    #[default]
    None,
    /// All that is selected.
    All,
    /// These stages or instances.
    Named(Vec<String>),
}

/// What takes part in a run; by index of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whether it takes part.
    pub selected: Vec<bool>,
    /// Whether it is executed whatever the checkpoints say; only what takes part is.
    pub forced: Vec<bool>,
    /// Those that take no part though one that does needs them directly: they must be done. Sorted; empty but with
    /// [`Target::Only`].
    pub required: Vec<u32>,
}

/// Why there is no selection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A name is nobody's.
    #[error("there is no stage or instance `{asked}`")]
    Unknown {
        /// What was asked for.
        asked: String,
        /// The nearest names there are, nearest first.
        nearest: Vec<String>,
    },
    /// `--force` or `--from` name what takes no part.
    #[error("`{option}={asked}` does nothing: nothing of it is selected")]
    NotSelected {
        /// The option.
        option: &'static str,
        /// What was asked for.
        asked: String,
    },
}

impl SelectError {
    /// Says what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest, .. } if nearest.is_empty() => Some("`cairn plan` lists them".to_owned()),
            Self::Unknown { nearest, .. } => Some(format!("did you mean `{}`?", nearest.join("`, `"))),
            Self::NotSelected { asked, .. } => {
                Some(format!("name `{asked}` among the stages to make as well"))
            }
        }
    }
}

/// Selects from a pipeline's instances. All errors are returned at once; then there is at least one.
pub fn select(nodes: &[Node<'_>], request: &Request) -> Result<Selection, Vec<SelectError>> {
    let mut names = Names::new(nodes);
    let count = u32::try_from(nodes.len()).expect("the language allows a million instances");
    let dependents = Dependents::new(
        nodes.len(),
        (0..count).flat_map(|i| nodes[i as usize].needs.iter().map(move |need| (i, *need))),
    );
    let needs = |instance: u32| nodes[instance as usize].needs;

    let from: Vec<Vec<u32>> = request.from.iter().map(|name| names.find(name)).collect();
    let behind: Vec<Vec<bool>> =
        from.iter().map(|from| closure(nodes.len(), from, |instance| dependents.of(instance))).collect();
    let selected = match &request.target {
        Target::All if from.is_empty() => vec![true; nodes.len()],
        Target::All => closure(nodes.len(), &marked(&union(nodes.len(), &behind)), needs),
        Target::Named(asked) => closure(nodes.len(), &names.find_all(asked), needs),
        Target::Only(asked) => marks(nodes.len(), &names.find_all(asked)),
    };

    let mut forced = vec![request.force == Force::All; nodes.len()];
    let mut force = |option, asked: &str, instances: &[u32]| {
        for instance in instances {
            forced[*instance as usize] = true;
        }
        let none = !instances.is_empty() && !instances.iter().any(|instance| selected[*instance as usize]);
        none.then(|| SelectError::NotSelected { option, asked: asked.to_owned() })
    };
    let mut errors = Vec::new();
    for (asked, behind) in request.from.iter().zip(&behind) {
        errors.extend(force("--from", asked, &marked(behind)));
    }
    if let Force::Named(asked) = &request.force {
        for asked in asked {
            errors.extend(force("--force", asked, &names.find(asked)));
        }
    }
    if !names.unknown.is_empty() {
        return Err(names.unknown);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    forced.iter_mut().zip(&selected).for_each(|(forced, selected)| *forced &= selected);
    let mut required: Vec<u32> =
        marked(&selected).iter().flat_map(|instance| needs(*instance)).copied().collect();
    required.retain(|instance| !selected[*instance as usize]);
    required.sort_unstable();
    required.dedup();
    Ok(Selection { selected, forced, required })
}

/// The instances by stage, and what was asked for in vain.
struct Names<'a> {
    nodes: &'a [Node<'a>],
    stages: BTreeMap<&'a str, Vec<u32>>,
    unknown: Vec<SelectError>,
}

impl<'a> Names<'a> {
    /// Names proposed at most.
    const NEAREST_MAX: usize = 3;

    fn new(nodes: &'a [Node<'a>]) -> Self {
        let mut stages: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (instance, node) in (0..).zip(nodes) {
            stages.entry(node.name.stage().as_str()).or_default().push(instance);
        }
        Self { nodes, stages, unknown: Vec::new() }
    }

    /// Returns the instances of a name; those of an unknown one are none, and it is noted.
    fn find(&mut self, asked: &str) -> Vec<u32> {
        let coordinates = |instance: &u32| self.nodes[*instance as usize].name.coordinates();
        let (stage, wanted) = match asked.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((stage, coordinates)) => (stage, Some(coordinates)),
            None => (asked, None),
        };
        let instances = self.stages.get(stage).map(Vec::as_slice).unwrap_or_default();
        let found: Vec<u32> = instances
            .iter()
            .filter(|instance| wanted.is_none() || coordinates(instance) == wanted)
            .copied()
            .collect();
        if found.is_empty() {
            let nearest = if instances.is_empty() {
                nearest(stage, self.stages.keys().map(|stage| (*stage).to_owned()))
            } else {
                nearest(
                    asked,
                    instances.iter().map(|instance| self.nodes[*instance as usize].name.to_string()),
                )
            };
            self.unknown.push(SelectError::Unknown { asked: asked.to_owned(), nearest });
        }
        found
    }

    fn find_all(&mut self, asked: &[String]) -> Vec<u32> {
        asked.iter().flat_map(|asked| self.find(asked)).collect()
    }
}

/// Returns the names most like `asked`, best first; of those that are nothing like it, none.
fn nearest(asked: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    /// Below it, a proposal puzzles more than it helps (as in clap).
    const LIKENESS_MIN: f64 = 0.7;
    let mut likely: Vec<(f64, String)> = names
        .map(|name| (strsim::jaro_winkler(asked, &name), name))
        .filter(|(likeness, _)| *likeness > LIKENESS_MIN)
        .collect();
    likely.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
    likely.into_iter().take(Names::NEAREST_MAX).map(|(_, name)| name).collect()
}

/// Marks `of` and all that `next` leads to from there.
fn closure<'a>(count: usize, of: &[u32], next: impl Fn(u32) -> &'a [u32]) -> Vec<bool> {
    let mut reached = marks(count, of);
    let mut open = of.to_vec();
    while let Some(instance) = open.pop() {
        for &neighbour in next(instance) {
            if !std::mem::replace(&mut reached[neighbour as usize], true) {
                open.push(neighbour);
            }
        }
    }
    reached
}

fn marks(count: usize, instances: &[u32]) -> Vec<bool> {
    let mut marks = vec![false; count];
    for instance in instances {
        marks[*instance as usize] = true;
    }
    marks
}

fn marked(marks: &[bool]) -> Vec<u32> {
    (0..).zip(marks).filter(|(_, marked)| **marked).map(|(instance, _)| instance).collect()
}

fn union(count: usize, sets: &[Vec<bool>]) -> Vec<bool> {
    (0..count).map(|i| sets.iter().any(|set| set[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `clean` → `by[UA]`, `by[AA]` → `report`; `other` stands alone.
    fn names() -> Vec<(InstanceName, Vec<u32>)> {
        [
            ("clean", None, &[][..]),
            ("by", Some("UA"), &[0]),
            ("by", Some("AA"), &[0]),
            ("report", None, &[1, 2]),
            ("other", None, &[]),
        ]
        .map(|(stage, coordinates, needs)| {
            (InstanceName::new(stage.parse().unwrap(), coordinates.map(Into::into)), needs.to_vec())
        })
        .into()
    }

    fn selection(request: &Request) -> Result<Selection, Vec<SelectError>> {
        let names = names();
        let nodes: Vec<Node<'_>> = names.iter().map(|(name, needs)| Node { name, needs }).collect();
        select(&nodes, request)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn named(asked: &[&str]) -> Target {
        Target::Named(texts(asked))
    }

    fn only(asked: &[&str]) -> Target {
        Target::Only(texts(asked))
    }

    #[test]
    fn selects_by_the_table() {
        let check = |target: Target,
                     from: &[&str],
                     force: Force,
                     selected: &[u32],
                     forced: &[u32],
                     required: &[u32]| {
            let request = Request { target, from: texts(from), force };
            let seen = selection(&request).unwrap();
            let seen = (marked(&seen.selected), marked(&seen.forced), seen.required);
            assert_eq!(seen, (selected.to_vec(), forced.to_vec(), required.to_vec()), "{request:?}");
        };
        let all = &[0, 1, 2, 3, 4];
        let force = |asked: &[&str]| Force::Named(texts(asked));
        check(Target::All, &[], Force::None, all, &[], &[]);
        check(named(&["by"]), &[], Force::None, &[0, 1, 2], &[], &[]);
        check(named(&["by[AA]", "other"]), &[], Force::None, &[0, 2, 4], &[], &[]);
        check(only(&["report"]), &[], Force::None, &[3], &[], &[1, 2]);
        check(only(&["report", "by[UA]"]), &[], Force::None, &[1, 3], &[], &[0, 2]);
        check(Target::All, &["by[UA]"], Force::None, &[0, 1, 2, 3], &[1, 3], &[]);
        check(Target::All, &["other", "report"], Force::None, all, &[3, 4], &[]);
        check(named(&["by"]), &["clean"], Force::None, &[0, 1, 2], &[0, 1, 2], &[]);
        check(only(&["report"]), &["clean"], Force::None, &[3], &[3], &[1, 2]);
        check(Target::All, &[], Force::All, all, all, &[]);
        check(named(&["by[AA]"]), &[], Force::All, &[0, 2], &[0, 2], &[]);
        check(named(&["report"]), &[], force(&["by"]), &[0, 1, 2, 3], &[1, 2], &[]);
        check(Target::All, &["report"], force(&["clean"]), &[0, 1, 2, 3], &[0, 3], &[]);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest() {
        let check = |asked: &str, message: &str, help: Option<&str>| {
            let errors = selection(&Request { target: named(&[asked]), ..Request::default() }).unwrap_err();
            let seen: Vec<_> = errors.iter().map(|error| (error.to_string(), error.help())).collect();
            assert_eq!(seen, [(message.to_owned(), help.map(Into::into))]);
        };
        check("reprot", "there is no stage or instance `reprot`", Some("did you mean `report`?"));
        check("by[UX]", "there is no stage or instance `by[UX]`", Some("did you mean `by[UA]`, `by[AA]`?"));
        check("claen[x]", "there is no stage or instance `claen[x]`", Some("did you mean `clean`?"));
        check("report[]", "there is no stage or instance `report[]`", Some("did you mean `report`?"));
        check("by[UA", "there is no stage or instance `by[UA`", Some("did you mean `by`?"));
        check("zzz", "there is no stage or instance `zzz`", Some("`cairn plan` lists them"));
        check("", "there is no stage or instance ``", Some("`cairn plan` lists them"));
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let request = Request {
            target: named(&["x", "clean"]),
            from: texts(&["y"]),
            force: Force::Named(texts(&["z", "clean"])),
        };
        let asked: Vec<String> = selection(&request).unwrap_err().iter().map(ToString::to_string).collect();
        let expect = ["y", "x", "z"].map(|asked| format!("there is no stage or instance `{asked}`"));
        assert_eq!(asked, expect);
    }

    #[test]
    fn forcing_what_takes_no_part_is_an_error() {
        let check = |from: &[&str], force: &[&str], expect: &str| {
            let request =
                Request { target: named(&["by"]), from: texts(from), force: Force::Named(texts(force)) };
            assert_eq!(selection(&request).unwrap_err()[0].to_string(), expect);
        };
        check(&["report"], &[], "`--from=report` does nothing: nothing of it is selected");
        check(&[], &["other"], "`--force=other` does nothing: nothing of it is selected");
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion() {
        let name = InstanceName::new("s".parse().unwrap(), None);
        let needs: Vec<Vec<u32>> = (0..200_000u32).map(|i| i.checked_sub(1).into_iter().collect()).collect();
        let nodes: Vec<Node<'_>> = needs.iter().map(|needs| Node { name: &name, needs }).collect();
        let request = Request { from: texts(&["s"]), ..Request::default() };
        let selection = select(&nodes, &request).unwrap();
        assert!(selection.selected.iter().chain(&selection.forced).all(|marked| *marked));
    }
}
