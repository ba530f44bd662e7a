//! What a run would do, without doing it.

use cairn_dag::graph::Graph;
use cairn_executor::{Engine, LookUpError, Verdict};
use cairn_model::{InputHash, Reason};

/// What would happen to one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prediction {
    /// Nothing: its outputs are in place.
    Fresh {
        /// Its input-hash.
        input_hash: InputHash,
        /// What its execution took.
        saved_ms: u64,
        /// The key of its effect, where nothing else keeps it from being executed.
        effect: Option<String>,
    },
    /// Outputs would be put back from the content store.
    Restore {
        /// Its input-hash.
        input_hash: InputHash,
        /// Which.
        paths: Vec<String>,
    },
    /// It would be executed.
    Run {
        /// Its input-hash.
        input_hash: InputHash,
        /// Why.
        reason: Reason,
    },
    /// An instance before it would be executed: it runs too, unless that one makes the same bytes as before.
    After {
        /// The instance before it.
        need: String,
        /// Whether it has a result of before; without one it runs in any case.
        has_result: bool,
    },
    /// The system outside is no longer as its effect left it: it would be executed.
    Drifted {
        /// Its input-hash.
        input_hash: InputHash,
        /// What its probe says.
        reason: Reason,
    },
    /// Of its effect nobody can say whether it took place.
    InDoubt {
        /// Why.
        error: String,
        /// What to do.
        help: Option<String>,
    },
    /// It cannot be looked up.
    Broken {
        /// Why.
        error: String,
        /// What to do.
        help: Option<String>,
        /// Whether that is because whoever asks is to end, or asked for too long.
        stopped: bool,
    },
    /// An instance before it is broken: its name.
    Blocked(String),
    /// Not asked for.
    NotSelected,
}

impl Prediction {
    /// Says why in one line; empty where nothing would be done.
    pub fn why(&self) -> String {
        match self {
            // The word says the rest.
            Self::Drifted { reason: Reason::Drifted(how), .. } => how.clone(),
            Self::Run { reason, .. } | Self::Drifted { reason, .. } => reason.text(),
            Self::After { need, has_result: true } => {
                format!("runs if `{need}` makes other bytes than before")
            }
            Self::After { need, has_result: false } => format!("runs after `{need}`"),
            Self::Restore { paths, .. } => {
                let quoted: Vec<String> = paths.iter().take(3).map(|path| format!("`{path}`")).collect();
                let more = paths.len().saturating_sub(3);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("{}{more} missing or changed", quoted.join(", "))
            }
            Self::Broken { error, .. } | Self::InDoubt { error, .. } => error.clone(),
            Self::Blocked(name) => format!("`{name}` before it would fail"),
            Self::Fresh { .. } | Self::NotSelected => String::new(),
        }
    }

    /// Returns whether the instance is, or may be, executed.
    pub fn is_stale(&self) -> bool {
        !matches!(self, Self::Fresh { .. } | Self::NotSelected)
    }
}

/// Finds what the instances made that the selected ones need and that take no part themselves.
pub fn prime(engine: &Engine, graph: &Graph, selected: &[bool]) {
    let wanted: Vec<u32> = graph.order().iter().copied().filter(|index| selected[*index as usize]).collect();
    let upstream = graph.upstream_closure(&wanted);
    for &index in graph.order() {
        if upstream[index as usize] && !selected[index as usize] {
            // One that is not done shows when an instance asks for its outputs.
            let _ = engine.look_up(index, false, true);
        }
    }
}

/// Predicts every instance of a pipeline, in the pipeline's order.
///
/// # Errors
///
/// The store cannot be read.
pub fn plan(
    engine: &Engine,
    graph: &Graph,
    selected: &[bool],
    force: &[bool],
) -> Result<Vec<Prediction>, LookUpError> {
    prime(engine, graph, selected);
    let instances = &engine.pipeline().instances;
    let mut predictions: Vec<Option<Prediction>> = vec![None; instances.len()];
    for &index in graph.order() {
        let at = index as usize;
        let prediction = if selected[at] {
            predict(engine, index, force[at], &predictions)?
        } else {
            Prediction::NotSelected
        };
        predictions[at] = Some(prediction);
    }
    Ok(predictions
        .into_iter()
        .map(|prediction| prediction.expect("the order holds every instance"))
        .collect())
}

fn predict(
    engine: &Engine,
    index: u32,
    force: bool,
    before: &[Option<Prediction>],
) -> Result<Prediction, LookUpError> {
    let instances = &engine.pipeline().instances;
    for &need in &instances[index as usize].needs {
        let name = || instances[need as usize].name.to_string();
        match before[need as usize].as_ref().expect("needs come before in the order") {
            Prediction::Run { .. } | Prediction::Drifted { .. } | Prediction::After { .. } => {
                return Ok(Prediction::After { need: name(), has_result: engine.has_result(index)? });
            }
            Prediction::Broken { .. } | Prediction::InDoubt { .. } | Prediction::Blocked(_) => {
                return Ok(Prediction::Blocked(name()));
            }
            Prediction::Fresh { .. } | Prediction::Restore { .. } | Prediction::NotSelected => {}
        }
    }
    Ok(match engine.look_up(index, force, true) {
        Ok(Verdict::Hit { input_hash, restored, saved_ms, .. }) if restored.is_empty() => {
            Prediction::Fresh { input_hash, saved_ms, effect: None }
        }
        Ok(Verdict::Stands { input_hash, key, restored, saved_ms, .. }) if restored.is_empty() => {
            Prediction::Fresh { input_hash, saved_ms, effect: Some(key) }
        }
        Ok(Verdict::Hit { input_hash, restored, .. } | Verdict::Stands { input_hash, restored, .. }) => {
            Prediction::Restore { input_hash, paths: restored }
        }
        Ok(Verdict::Miss { input_hash, reason: reason @ Reason::Drifted(_) }) => {
            Prediction::Drifted { input_hash, reason }
        }
        Ok(Verdict::InDoubt { error, help, .. }) => Prediction::InDoubt { error, help },
        Ok(Verdict::Miss { input_hash, reason }) => Prediction::Run { input_hash, reason },
        Err(error) if error.is_store() => return Err(error),
        Err(error) => {
            let stopped = matches!(error, LookUpError::Stopped);
            Prediction::Broken { error: error.to_string(), help: error.help(), stopped }
        }
    })
}
