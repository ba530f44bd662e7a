//! How a run must end, told from the case alone: whatever the order of things, the outcomes are the same.

use cairn_model::Outcome;

use super::case::{Answer, Case, Ending};

/// Returns how each selected instance must end in a run that nobody disturbs. A failure that stops a run disturbs it: so
/// there is no prediction when the case has any trouble and the run does not keep going.
pub(super) fn predict(case: &Case) -> Option<Vec<Option<Outcome>>> {
    let troubled =
        case.fates.iter().any(|fate| fate.lookups.contains(&Answer::Broken) || !fate.attempts.is_empty());
    if troubled && !case.setup.keep_going {
        return None;
    }
    let mut outcomes = vec![None; case.fates.len()];
    for instance in (0..case.fates.len()).filter(|instance| case.setup.instances[*instance].selected) {
        outcome(case, instance, &mut outcomes);
    }
    Some(outcomes)
}

fn outcome(case: &Case, instance: usize, known: &mut [Option<Outcome>]) -> Outcome {
    if let Some(outcome) = known[instance] {
        return outcome;
    }
    let selected = |need: &usize| case.setup.instances[*need].selected;
    let mut needs = case.setup.instances[instance].needs.iter().map(|need| *need as usize).filter(selected);
    let blocked = needs.any(|need| !outcome(case, need, known).is_done());
    let outcome = if blocked { Outcome::Blocked } else { outcome_alone(case, instance) };
    known[instance] = Some(outcome);
    outcome
}

/// How an instance must end whose needs are done. An attempt that somebody cuts off ends it as blocked.
fn outcome_alone(case: &Case, instance: usize) -> Outcome {
    let facts = &case.setup.instances[instance];
    let fate = &case.fates[instance];
    let mut endings = fate.attempts.iter();
    let mut failures = facts.history.failures;
    for answer in fate.lookups.iter().chain(std::iter::repeat(&Answer::Miss)) {
        match answer {
            Answer::Fresh => return Outcome::Fresh,
            Answer::Restored => return Outcome::Restored,
            Answer::Broken => return Outcome::Failed,
            Answer::Miss if case.setup.frozen => return Outcome::Blocked,
            Answer::Miss | Answer::Held => failures += 1,
        }
        match endings.next() {
            None => return Outcome::Ran,
            Some(Ending::IsCut) => return Outcome::Blocked,
            Some(Ending::Fails) if failures < facts.retries.attempts => {}
            Some(Ending::Fails | Ending::FailsForGood) => return Outcome::Failed,
        }
    }
    unreachable!("the answers do not end")
}
