//! The live lines: what runs now, how much is done, how long it will take.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cairn_model::{InstanceEvent, InstanceName, RecordCounts};

use super::fit::{Fit, Line};
use super::style::{self, Paint};
use super::{text, time};

/// What runs and what is left.
#[derive(Debug)]
pub(crate) struct Board {
    total: usize,
    jobs: u32,
    /// The expected milliseconds of instances that have not ended, 0 when nothing is known.
    unfinished: HashMap<InstanceName, u64>,
    done: usize,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: InstanceName,
    shown: String,
    since: Instant,
    attempt: u32,
    expected_ms: u64,
    /// When the next attempt starts and what the last one died of.
    retry: Option<(Instant, String)>,
    /// What became of its records so far.
    records: Option<RecordCounts>,
    /// Until when they wait for a sink, whose pause it is, and why.
    pause: Option<(Instant, String, String)>,
}

/// Lines for running instances where there is room for them.
const RUNNING_MAX: usize = 12;
/// Columns of the longest bar.
const BAR_MAX: usize = 30;
/// Columns below which there is no bar.
const BAR_COLUMNS_MIN: usize = 60;

impl Board {
    /// Starts with nothing done. `expected_ms` belongs to `names`: 0 where nothing is known or nothing is to be done.
    pub(crate) fn new(names: &[InstanceName], expected_ms: &[u64], jobs: u32) -> Self {
        let expected = expected_ms.iter().copied().chain(std::iter::repeat(0));
        Self {
            total: names.len(),
            jobs: jobs.max(1),
            unfinished: names.iter().cloned().zip(expected).collect(),
            done: 0,
            running: Vec::new(),
        }
    }

    /// Takes in what happened to an instance.
    pub(crate) fn add(&mut self, name: &InstanceName, event: &InstanceEvent, pause: Duration, now: Instant) {
        match event {
            InstanceEvent::AttemptStarted { attempt, .. } => {
                self.running.retain(|running| running.name != *name);
                let expected_ms = self.unfinished.get(name).copied().unwrap_or(0);
                self.running.push(Running {
                    name: name.clone(),
                    shown: name.to_string(),
                    since: now,
                    attempt: *attempt,
                    expected_ms,
                    retry: None,
                    records: None,
                    pause: None,
                });
            }
            InstanceEvent::AttemptFailed { error, .. } => {
                if let Some(running) = self.running.iter_mut().find(|running| running.name == *name) {
                    running.retry = Some((now + pause, error.clone()));
                }
            }
            InstanceEvent::Records { .. } | InstanceEvent::Trashed { .. } | InstanceEvent::Undone { .. } => {}
            InstanceEvent::CheckpointFound { .. }
            | InstanceEvent::EffectStands { .. }
            | InstanceEvent::Committed { .. }
            | InstanceEvent::NotPlaced { .. }
            | InstanceEvent::Failed { .. }
            | InstanceEvent::InDoubt { .. }
            | InstanceEvent::Blocked { .. } => {
                self.running.retain(|running| running.name != *name);
                if self.unfinished.remove(name).is_some() {
                    self.done += 1;
                }
            }
        }
    }

    /// Takes in how far the records of an instance are.
    pub(crate) fn records(&mut self, name: &InstanceName, counts: RecordCounts) {
        if let Some(running) = self.running.iter_mut().find(|running| running.name == *name) {
            running.records = Some(counts);
        }
    }

    /// Takes in that the records of an instance wait for a sink, or go on.
    pub(crate) fn pause(&mut self, name: &InstanceName, pause: Option<(Instant, String, String)>) {
        if let Some(running) = self.running.iter_mut().find(|running| running.name == *name) {
            running.pause = pause;
        }
    }

    /// Draws the lines: each is shorter than `columns`, and they leave at least one of `rows` free.
    pub(crate) fn lines(
        &self,
        fit: Fit,
        paint: Paint,
        now: Instant,
        columns: usize,
        rows: usize,
    ) -> Vec<String> {
        // A line for the total, one above it that is empty, one for the cursor, and some of what has happened.
        let room = rows.saturating_sub(6).clamp(1, RUNNING_MAX);
        let shown = if self.running.len() > room { room - 1 } else { self.running.len() };
        let fit = fit.within(Some(columns));
        let mut lines: Vec<String> =
            self.running[..shown].iter().map(|running| running.line(fit, paint, now)).collect();
        if shown < self.running.len() {
            let more = text::truncate(&format!("  and {} more", self.running.len() - shown), columns - 1);
            lines.push(paint.with(style::DIM, &more));
        }
        if rows > 4 {
            lines.push(String::new());
        }
        lines.push(self.total_line(paint, now, columns));
        lines
    }

    fn total_line(&self, paint: Paint, now: Instant, columns: usize) -> String {
        let executing = self.running.iter().filter(|running| running.retry.is_none()).count();
        let mut facts = vec![format!("{} of {}", self.done, self.total), format!("{executing} running")];
        if let Some(left) = self.left_ms(now) {
            facts.push(format!("about {} left", time::about(left)));
        }
        let facts = facts.join(" · ");
        if columns < BAR_COLUMNS_MIN || self.total == 0 {
            return format!("  {}", text::truncate(&facts, columns - 3));
        }
        let bar = BAR_MAX.min(columns / 3);
        let filled = self.done * bar / self.total;
        let (full, rest) = ("━".repeat(filled), "─".repeat(bar - filled));
        let facts = text::truncate(&facts, columns - bar - 5);
        format!("  {}{}  {facts}", paint.with(style::RUNNING, &full), paint.with(style::DIM, &rest))
    }

    /// Guesses the time left, `None` while less than half of what is left has been seen before.
    ///
    /// It is the longer of what the longest running instance still needs, and all that is left shared among the jobs:
    /// a bound from below, since instances wait for each other.
    fn left_ms(&self, now: Instant) -> Option<u64> {
        let known = self.unfinished.values().filter(|expected| **expected > 0).count();
        if known == 0 || known * 2 < self.unfinished.len() {
            return None;
        }
        let mut work: u64 = self.unfinished.values().sum();
        let mut longest = 0;
        for running in &self.running {
            let elapsed = if running.retry.is_some() { 0 } else { millis(now.duration_since(running.since)) };
            work = work.saturating_sub(elapsed.min(running.expected_ms));
            longest = longest.max(running.expected_ms.saturating_sub(elapsed));
        }
        Some(longest.max(work / u64::from(self.jobs)))
    }
}

impl Running {
    fn line(&self, fit: Fit, paint: Paint, now: Instant) -> String {
        let elapsed = millis(now.duration_since(self.since));
        if let Some((until, error)) = &self.retry {
            let pause = time::about(millis(until.saturating_duration_since(now)));
            let reason = format!("attempt {} failed, the next in {pause}: {error}", self.attempt);
            let line = Line {
                word: "waiting",
                style: style::WARNING,
                name: &self.shown,
                took: "",
                reason: &reason,
                dim: false,
            };
            return fit.cut(&line, paint);
        }
        if let Some((until, whose, error)) = &self.pause {
            let left = time::about(millis(until.saturating_duration_since(now)));
            let (took, reason) = (time::ticking(elapsed), format!("{whose} {left}: {error}"));
            let line = Line {
                word: "waiting",
                style: style::WARNING,
                name: &self.shown,
                took: &took,
                reason: &reason,
                dim: false,
            };
            return fit.cut(&line, paint);
        }
        let mut facts = Vec::new();
        if self.expected_ms > 0 {
            facts.push(format!("of about {}", time::about(self.expected_ms)));
        }
        if self.attempt > 1 {
            facts.push(format!("attempt {}", self.attempt));
        }
        if let Some(records) = &self.records {
            facts.push(records.progress());
        }
        let (took, reason) = (time::ticking(elapsed), facts.join(" · "));
        let line = Line {
            word: "running",
            style: style::RUNNING,
            name: &self.shown,
            took: &took,
            reason: &reason,
            dim: false,
        };
        fit.cut(&line, paint)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{Domain, InputHash, Reason, Timestamp};

    fn names(count: usize) -> Vec<InstanceName> {
        (0..count).map(|n| InstanceName::new("carrier".parse().unwrap(), Some(format!("C{n}")))).collect()
    }

    fn started(attempt: u32) -> InstanceEvent {
        let input_hash = InputHash::from_digest(Domain::InputHash.digest(b""));
        InstanceEvent::AttemptStarted { attempt, input_hash, reason: Reason::First }
    }

    fn committed() -> InstanceEvent {
        let input_hash = InputHash::from_digest(Domain::InputHash.digest(b""));
        InstanceEvent::Committed { attempt: 1, input_hash, took_ms: 5 }
    }

    fn draw(board: &Board, now: Instant, columns: usize, rows: usize) -> String {
        let names: Vec<String> = names(3).iter().map(ToString::to_string).collect();
        let fit = Fit::new(names.iter().map(String::as_str), 0);
        let lines = board.lines(fit, Paint::new(false), now, columns, rows);
        assert!(lines.iter().all(|line| text::width(line) < columns), "{lines:#?}");
        assert!(lines.len() < rows, "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn what_runs_what_waits_and_what_is_left() {
        let names = names(3);
        let mut board = Board::new(&names, &[4000, 6000, 0], 2);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        board.add(&names[0], &started(1), Duration::ZERO, at(0));
        board.add(&names[1], &started(2), Duration::ZERO, at(500));
        board.add(&names[2], &started(1), Duration::ZERO, at(900));
        let failed = InstanceEvent::AttemptFailed {
            attempt: 1,
            error: "exit status 7".into(),
            retry_at: Timestamp(0),
        };
        board.add(&names[2], &failed, Duration::from_secs(4), at(1000));
        insta::assert_snapshot!(draw(&board, at(1500), 80, 24), @r"
        running   carrier[C0]   1.5 s  of about 4 s
        running   carrier[C1]   1.0 s  of about 6 s · attempt 2
        waiting   carrier[C2]          attempt 1 failed, the next in 4 s: exit statu…

        ──────────────────────────  0 of 3 · 2 running · about 5 s left
        ");
        insta::assert_snapshot!(draw(&board, at(1500), 40, 24), @r"
          running   carrier[C0]   1.5 s
          running   carrier[C1]   1.0 s
          waiting   carrier[C2]

          0 of 3 · 2 running · about 5 s left
        ");
        board.add(&names[0], &committed(), Duration::ZERO, at(1500));
        insta::assert_snapshot!(draw(&board, at(1500), 80, 4), @r"
          and 2 more
          ━━━━━━━━──────────────────  1 of 3 · 1 running · about 5 s left
        ");
    }

    #[test]
    fn records_that_wait_for_a_sink_say_so_until_they_go_on() {
        let names = names(1);
        let mut board = Board::new(&names, &[], 2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        board.add(&names[0], &started(1), Duration::ZERO, start);
        let why = ("`http` asked for a pause, the next try in".to_owned(), "answered by 429".to_owned());
        board.pause(&names[0], Some((at(60), why.0, why.1)));
        insta::assert_snapshot!(draw(&board, at(2), 100, 24), @r"
        waiting   carrier[C0]   2.0 s  `http` asked for a pause, the next try in 58 s: answered by 429

        ──────────────────────────────  0 of 1 · 1 running
        ");
        board.pause(&names[0], None);
        let text = draw(&board, at(61), 100, 24);
        assert!(text.trim_start().starts_with("running   carrier[C0]") && !text.contains("429"), "{text}");
    }

    #[test]
    fn a_crowd_is_cut_and_nothing_is_guessed_without_a_past() {
        let names = names(40);
        let mut board = Board::new(&names, &[], 64);
        let now = Instant::now();
        for name in &names {
            board.add(name, &started(1), Duration::ZERO, now);
        }
        for rows in [4, 5, 10, 24, 80] {
            let text = draw(&board, now, 80, rows);
            assert!(text.contains(" more\n"), "{text}");
            assert!(text.ends_with("  0 of 40 · 40 running"), "{text}");
        }
    }
}
