//! Cron on a clock that is set forward and back, as Debian's cron has it.
//!
//! An expression of fixed times comes once a date: what the clock leaves out comes right after the gap, what it shows twice
//! comes the first time. A wildcard in minute or hour follows the clock: it comes whenever the clock matches, on both sides.

use cairn_model::{Cron, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::search;

/// Returns the first time strictly after `time`.
pub(super) fn after(cron: &Cron, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    let time = instant(time)?;
    let found =
        if cron.is_wildcard() { shown_after(cron, zone, time) } else { fixed_after(cron, zone, time) };
    found.map(|found| Timestamp(found.as_millisecond()))
}

/// Returns the last time strictly before `time`.
pub(super) fn before(cron: &Cron, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    let time = instant(time)?;
    let found =
        if cron.is_wildcard() { shown_before(cron, zone, time) } else { fixed_before(cron, zone, time) };
    found.map(|found| Timestamp(found.as_millisecond()))
}

fn instant(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(time.0).ok()
}

/// Between two changes the clock runs evenly: each stretch is searched by itself.
fn shown_after(cron: &Cron, zone: &TimeZone, time: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let mut from = time.checked_add(jiff::Span::new().nanoseconds(1)).ok()?;
    let mut changes = zone.following(time);
    loop {
        let offset = zone.to_offset(from);
        let change = changes.next().map(|change| change.timestamp());
        let minute = search::first_from(cron, offset.to_datetime(from));
        let found = minute.and_then(|minute| offset.to_timestamp(minute).ok());
        match (found, change) {
            (found, None) => return found,
            (Some(found), Some(change)) if found < change => return Some(found),
            (None, Some(_)) => return None,
            (Some(_), Some(change)) => from = change,
        }
    }
}

fn shown_before(cron: &Cron, zone: &TimeZone, time: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let mut until = time;
    loop {
        // The stretch that ends at `until` has the offset of just before it.
        let inside = until.checked_sub(jiff::Span::new().nanoseconds(1)).ok()?;
        let offset = zone.to_offset(inside);
        let change = zone.preceding(until).next().map(|change| change.timestamp());
        let minute = search::last_before(
            cron,
            offset.to_datetime(inside).checked_add(jiff::Span::new().nanoseconds(1)).ok()?,
        )?;
        let found = offset.to_timestamp(minute).ok()?;
        match change {
            Some(change) if found < change => until = change,
            _ => return Some(found),
        }
    }
}

/// When a fixed time comes; greater for greater times, or equal.
fn comes(zone: &TimeZone, minute: DateTime) -> Option<jiff::Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(minute);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(minute).ok()
        }
        // By the offset after it the time lies before the change that leaves it out.
        AmbiguousOffset::Gap { after, .. } => {
            let early = after.to_timestamp(minute).ok()?;
            zone.following(early).next().map(|change| change.timestamp())
        }
    }
}

fn fixed_after(cron: &Cron, zone: &TimeZone, time: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let mut from = zone.to_datetime(time);
    loop {
        let minute = search::first_from(cron, from)?;
        let found = comes(zone, minute)?;
        if found > time {
            return Some(found);
        }
        from = minute.checked_add(jiff::Span::new().minutes(1)).ok()?;
    }
}

fn fixed_before(cron: &Cron, zone: &TimeZone, time: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let mut until = zone.to_datetime(time).checked_add(jiff::Span::new().nanoseconds(1)).ok()?;
    // After the clock was set back, later minutes than it shows have been.
    let day = jiff::Span::new().hours(25);
    let change = zone.preceding(time).next().map(|change| change.timestamp());
    if let (Some(change), Ok(yesterday)) = (change, time.checked_sub(day))
        && change > yesterday
    {
        until = until.checked_add(day).ok()?;
    }
    loop {
        let minute = search::last_before(cron, until)?;
        let found = comes(zone, minute)?;
        if found < time {
            return Some(found);
        }
        until = minute;
    }
}
