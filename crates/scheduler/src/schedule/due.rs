//! What is to run now, and what of the past is dropped.

use cairn_model::{Catchup, DropReason, Interval, Occurrence, Timestamp, Trigger};

use super::{Times, before};

/// Occurrences that are started by one answer; the others come with the next.
pub const FIRED_MAX: usize = 1_000;

/// Dropped occurrences that one answer lists; of the others it gives the stretch of time.
pub const LISTED_MAX: usize = 1_000;

/// So late is still on time: as exact as cron ever was.
const ON_TIME_MS: u64 = 60_000;

/// What follows from the time that has passed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// To be run, in the order of their times.
    pub fire: Vec<Occurrence>,
    /// Not to be run, in the order of their times.
    pub dropped: Vec<(Occurrence, DropReason)>,
    /// Where more are dropped than are listed: from the first that is not listed up to the first that is not dropped.
    pub unlisted: Option<Interval>,
    /// Every time up to this one is decided: what to ask from the next time. `None` where nothing is due.
    pub decided: Option<Timestamp>,
    /// Whether more is due: ask again from `decided`.
    pub more: bool,
}

impl Times<'_> {
    /// Returns what is due at `now` of the times after `last`: the latest that is decided, or the time from which the
    /// schedule is watched. `None` means that it never was: its times count from its start, and without one from now.
    ///
    /// A clock that went back makes nothing due: what lies up to `last` stays decided.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp) -> Due {
        let last = last.unwrap_or_else(|| before(self.schedule.start.unwrap_or(now)));
        match self.schedule.catchup {
            Catchup::All => self.due_all(last, now),
            Catchup::Latest | Catchup::None => self.due_latest(last, now),
        }
    }

    /// Returns up to when the times of a list (`at`) are over already, with `last` as [`due`](Self::due) has it: someone wrote down
    /// each of them and waits for what becomes of it, so that those have to be told. `None`: the trigger is another one, whose times
    /// reach back without end.
    pub fn over_until(&self, last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let Some(Trigger::At(_)) = self.schedule.trigger else { return None };
        let last = last.unwrap_or_else(|| before(self.schedule.start.unwrap_or(now)));
        Some(last.min(now))
    }

    /// Returns the times after `after`, or from the first on, up to `until`; of very many the latest.
    pub fn listed(&self, after: Option<Timestamp>, until: Timestamp) -> Vec<Occurrence> {
        let mut at = until.plus_millis(1);
        let before = std::iter::from_fn(|| {
            let occurrence = self.last_before(at)?;
            at = occurrence.nominal;
            Some(occurrence)
        });
        let is_later = |occurrence: &Occurrence| after.is_none_or(|after| occurrence.nominal > after);
        before.take_while(is_later).take(LISTED_MAX).collect()
    }

    /// The last occurrence after `last` whose run may begin.
    fn latest(&self, last: Timestamp, now: Timestamp) -> Option<Occurrence> {
        let mut latest = self.last_before(now.plus_millis(1))?;
        if latest.fires_at > now {
            latest = self.last_before(latest.nominal)?;
        }
        Some(latest).filter(|latest| latest.nominal > last)
    }

    fn is_too_old(&self, occurrence: &Occurrence, now: Timestamp) -> bool {
        self.schedule.catchup_window_ms.is_some_and(|window| now.millis_since(occurrence.nominal) > window)
    }

    fn due_latest(&self, last: Timestamp, now: Timestamp) -> Due {
        let Some(latest) = self.latest(last, now) else { return Due::default() };
        let none = self.schedule.catchup == Catchup::None;
        let mut due = Due { decided: Some(latest.nominal), ..Due::default() };
        let reason = |occurrence: &Occurrence| match (self.is_too_old(occurrence, now), none) {
            (true, _) => DropReason::TooOld,
            (false, true) => DropReason::Missed,
            (false, false) => DropReason::Superseded,
        };
        due.drop_until(self, last, latest.nominal, reason);
        if self.is_too_old(&latest, now) {
            due.dropped.push((latest, DropReason::TooOld));
        } else if none && now.millis_since(latest.fires_at) > ON_TIME_MS {
            due.dropped.push((latest, DropReason::Missed));
        } else {
            due.fire.push(latest);
        }
        due
    }

    fn due_all(&self, last: Timestamp, now: Timestamp) -> Due {
        let mut due = Due::default();
        let mut from = last;
        if let Some(window) = self.schedule.catchup_window_ms {
            let oldest = Timestamp(now.0.saturating_sub(i64::try_from(window).unwrap_or(i64::MAX)));
            if let Some(first) = self.next_after(last).filter(|first| first.nominal < oldest) {
                // The first that may run, or what comes after now where none may.
                due.drop_until(self, before(first.nominal), oldest.min(now), |_| DropReason::TooOld);
                from = before(oldest);
                due.decided = self.last_before(oldest).map(|dropped| dropped.nominal);
            }
        }
        while let Some(next) = self.next_after(from).filter(|next| next.fires_at <= now) {
            if due.fire.len() == FIRED_MAX {
                due.more = true;
                break;
            }
            from = next.nominal;
            due.decided = Some(next.nominal);
            due.fire.push(next);
        }
        due
    }
}

impl Due {
    /// Drops the times after `from` and before `until`.
    fn drop_until(
        &mut self,
        times: &Times<'_>,
        from: Timestamp,
        until: Timestamp,
        reason: impl Fn(&Occurrence) -> DropReason,
    ) {
        let mut from = from;
        while let Some(next) = times.next_after(from).filter(|next| next.nominal < until) {
            if self.dropped.len() == LISTED_MAX {
                self.unlisted = Some(Interval { start: next.nominal, end: until });
                return;
            }
            from = next.nominal;
            let reason = reason(&next);
            self.dropped.push((next, reason));
        }
    }
}
