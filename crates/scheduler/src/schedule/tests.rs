//! Times of schedules: the table of clock changes, properties for many zones, what is due; and an oracle.

use std::collections::HashSet;

use cairn_model::{Catchup, DropReason, Interval, Name, Schedule, Timestamp, Trigger};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{Due, FIRED_MAX, LISTED_MAX, Times};

mod oracle;

fn name() -> Name {
    "demo".parse().unwrap()
}

fn cron(text: &str, zone: &str) -> Schedule {
    Schedule::of(Trigger::Cron(text.parse().unwrap()), zone)
}

fn every(ms: u64) -> Schedule {
    Schedule::of(Trigger::Every { ms }, "UTC")
}

fn time(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// Returns the times of `schedule` after `from` and before `until`, by the clock of its zone.
fn shown(schedule: &Schedule, from: &str, until: &str) -> Vec<String> {
    let name = name();
    let times = Times::new(&name, schedule).unwrap();
    let (mut at, until) = (time(from), time(until));
    let mut found = Vec::new();
    while let Some(next) = times.next_after(at).filter(|next| next.nominal < until) {
        at = next.nominal;
        let shown = jiff::Timestamp::from_millisecond(at.0).unwrap().to_zoned(times.zone().clone());
        found.push(shown.strftime("%d %H:%M%:z").to_string());
    }
    found
}

#[test]
fn when_the_clock_changes_a_cron_is_debians() {
    let check = |cron_text: &str, zone: &str, from: &str, until: &str, expect: &[&str]| {
        assert_eq!(shown(&cron(cron_text, zone), from, until), expect, "{cron_text} {zone}");
    };
    let (spring, autumn) =
        (("2026-03-28T12:00Z", "2026-03-30T12:00Z"), ("2026-10-24T12:00Z", "2026-10-26T12:00Z"));
    let berlin = "Europe/Berlin";
    // A fixed time that the clock leaves out comes right after the gap, one that it shows twice the first time.
    check("30 2 * * *", berlin, spring.0, spring.1, &["29 03:00+02:00", "30 02:30+02:00"]);
    check("30 2 * * *", berlin, autumn.0, autumn.1, &["25 02:30+02:00", "26 02:30+01:00"]);
    // Two times of one gap, or one of it and its end, come once.
    check("0,30 2,3 * * *", berlin, spring.0, "2026-03-29T12:00Z", &["29 03:00+02:00", "29 03:30+02:00"]);
    // A wildcard follows the clock: nothing in the gap, both sides of the overlap, in order.
    check(
        "*/30 1-3 * * *",
        berlin,
        "2026-03-28T12:00Z",
        "2026-03-29T12:00Z",
        &["29 01:00+01:00", "29 01:30+01:00", "29 03:00+02:00", "29 03:30+02:00"],
    );
    check(
        "*/30 * * * *",
        berlin,
        "2026-10-24T23:59Z",
        "2026-10-25T02:00Z",
        &["25 02:00+02:00", "25 02:30+02:00", "25 02:00+01:00", "25 02:30+01:00"],
    );
    check("*/30 2 * * *", berlin, spring.0, "2026-03-29T12:00Z", &[]);
    // Santiago sets its clock forward at midnight, New York's noon is far from any change.
    check(
        "0 0 * * *",
        "America/Santiago",
        "2026-09-05T12:00Z",
        "2026-09-07T12:00Z",
        &["06 01:00-03:00", "07 00:00-03:00"],
    );
    // Lord Howe Island changes by half an hour; Samoa once left out a whole day.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T20:00Z",
        "2026-10-04T20:00Z",
        &["04 02:30+11:00", "05 02:15+11:00"],
    );
    check(
        "0 6 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00Z",
        "2011-12-31T12:00Z",
        &["29 06:00-10:00", "31 00:00+14:00", "31 06:00+14:00"],
    );
    // The clock of St. John's once went back over midnight: the minutes of the day before came again.
    check(
        "*/30 23 * * *",
        "America/St_Johns",
        "2010-11-07T01:40Z",
        "2010-11-07T04:00Z",
        &["06 23:30-02:30", "06 23:30-03:30"],
    );
    // Either day is enough.
    check(
        "0 12 13 * FRI",
        "UTC",
        "2026-11-01T00:00Z",
        "2026-11-21T00:00Z",
        &["06 12:00+00:00", "13 12:00+00:00", "20 12:00+00:00"],
    );
    check(
        "0 0 29 2 *",
        "UTC",
        "2096-01-01T00:00Z",
        "2105-01-01T00:00Z",
        &["29 00:00+00:00", "29 00:00+00:00"],
    );
}

#[test]
fn distances_count_from_the_start_and_lists_are_taken_as_they_are() {
    let mut schedule = every(40 * 60_000);
    assert_eq!(
        shown(&schedule, "2026-01-01T00:00Z", "2026-01-01T02:01Z"),
        ["01 00:40+00:00", "01 01:20+00:00", "01 02:00+00:00"]
    );
    (schedule.start, schedule.end) = (Some(time("2026-01-01T00:10Z")), Some(time("2026-01-01T01:30Z")));
    assert_eq!(
        shown(&schedule, "2025-01-01T00:00Z", "2027-01-01T00:00Z"),
        ["01 00:10+00:00", "01 00:50+00:00"]
    );
    let at = Schedule::of(Trigger::At(vec![time("2026-01-01T00:00Z"), time("2026-01-03T00:00Z")]), "UTC");
    assert_eq!(shown(&at, "2025-01-01T00:00Z", "2027-01-01T00:00Z").len(), 2);
    let name = name();
    let times = Times::new(&name, &at).unwrap();
    let second = times.next_after(time("2026-01-01T00:00Z")).unwrap();
    assert_eq!(second.interval, Interval { start: time("2026-01-01T00:00Z"), end: second.nominal });
    assert_eq!(times.next_after(second.nominal), None);
}

#[test]
fn an_id_is_of_pipeline_trigger_and_time_alone() {
    let (a, b) = (name(), "other".parse::<Name>().unwrap());
    let schedule = cron("@daily", "Europe/Berlin");
    let id = |name: &Name, schedule: &Schedule| {
        Times::new(name, schedule).unwrap().next_after(time("2026-01-01T12:00Z")).unwrap().id
    };
    let of = id(&a, &schedule);
    let mut changed = schedule.clone();
    (changed.jitter_ms, changed.catchup, changed.priority) = (60_000, Catchup::All, 7);
    changed.start = Some(time("2026-01-01T00:00Z"));
    assert_eq!(id(&a, &changed), of);
    assert_eq!(id(&a, &cron("0 0 * * *", "Europe/Berlin")), of, "a nickname is what it stands for");
    assert_ne!(id(&b, &schedule), of);
    assert_ne!(id(&a, &cron("0 0 * * *", "Europe/Paris")), of);
    // Written down: an id of before an upgrade must be the id after it.
    assert_eq!(of.to_string(), "a26c9dd8f98d2c209f81e8658a0fec2b8ded7a6353edcdb3c0ef99217eb3c9d5");
}

#[test]
fn the_days_of_a_stretch() {
    let schedule = cron("0 0 * * *", "Europe/Berlin");
    let name = name();
    let times = Times::new(&name, &schedule).unwrap();
    let stretch = Interval { start: time("2026-03-27T23:00Z"), end: time("2026-03-30T22:00Z") };
    let days: Vec<Interval> = times.within(stretch).map(|occurrence| occurrence.interval).collect();
    assert_eq!(
        days.iter().map(|day| day.end.millis_since(day.start) / 3_600_000).collect::<Vec<_>>(),
        [24, 23, 24]
    );
    assert_eq!((days[0].start, days[2].end), (stretch.start, stretch.end));
}

fn due(schedule: &Schedule, last: &str, now: &str) -> Due {
    let name = name();
    Times::new(&name, schedule).unwrap().due(Some(time(last)), time(now))
}

#[test]
fn catching_up() {
    let mut schedule = every(3_600_000);
    let (last, now) = ("2026-01-01T00:00Z", "2026-01-01T03:30Z");
    let of = |due: &Due| {
        let hours = |time: Timestamp| time.millis_since(self::time(last)) / 3_600_000;
        let fired: Vec<u64> = due.fire.iter().map(|fire| hours(fire.nominal)).collect();
        let dropped: Vec<_> =
            due.dropped.iter().map(|(dropped, reason)| (hours(dropped.nominal), *reason)).collect();
        (fired, dropped, due.decided.map(hours))
    };
    let latest = due(&schedule, last, now);
    assert_eq!(
        of(&latest),
        (vec![3], vec![(1, DropReason::Superseded), (2, DropReason::Superseded)], Some(3))
    );
    schedule.catchup = Catchup::All;
    assert_eq!(of(&due(&schedule, last, now)), (vec![1, 2, 3], vec![], Some(3)));
    schedule.catchup_window_ms = Some(5_400_000);
    assert_eq!(of(&due(&schedule, last, now)), (vec![2, 3], vec![(1, DropReason::TooOld)], Some(3)));
    schedule.catchup_window_ms = Some(60_000);
    let all = DropReason::TooOld;
    assert_eq!(of(&due(&schedule, last, now)), (vec![], vec![(1, all), (2, all), (3, all)], Some(3)));
    schedule.catchup = Catchup::Latest;
    assert_eq!(of(&due(&schedule, last, now)), (vec![], vec![(1, all), (2, all), (3, all)], Some(3)));
    (schedule.catchup, schedule.catchup_window_ms) = (Catchup::None, None);
    let missed = DropReason::Missed;
    assert_eq!(
        of(&due(&schedule, last, now)),
        (vec![], vec![(1, missed), (2, missed), (3, missed)], Some(3))
    );
    assert_eq!(of(&due(&schedule, "2026-01-01T02:00Z", "2026-01-01T03:00:20Z")), (vec![3], vec![], Some(3)));
}

#[test]
fn nothing_is_due_early_and_nothing_again_when_the_clock_goes_back() {
    let schedule = cron("0 6 * * *", "UTC");
    assert_eq!(due(&schedule, "2026-01-01T06:00Z", "2026-01-02T05:59:59.999Z"), Due::default());
    assert_eq!(due(&schedule, "2026-01-01T06:00Z", "2026-01-02T06:00Z").fire.len(), 1);
    // The clock went forward a day, and back again.
    assert_eq!(due(&schedule, "2026-01-02T06:00Z", "2026-01-01T06:00Z"), Due::default());
    assert_eq!(due(&schedule, "2026-01-02T06:00Z", "2026-01-02T06:00Z"), Due::default());
    let name = name();
    let times = Times::new(&name, &schedule).unwrap();
    assert_eq!(times.due(None, time("2026-01-01T12:00Z")), Due::default());
    assert_eq!(times.due(None, time("2026-01-01T06:00Z")).fire.len(), 1);
}

#[test]
fn many_missed_times_are_bounded() {
    let mut schedule = every(1_000);
    let found = due(&schedule, "2016-01-01T00:00Z", "2026-01-01T00:00Z");
    assert_eq!((found.fire.len(), found.dropped.len()), (1, LISTED_MAX));
    let unlisted = Interval { start: time("2016-01-01T00:16:41Z"), end: time("2026-01-01T00:00Z") };
    assert_eq!(found.unlisted, Some(unlisted));
    schedule.catchup = Catchup::All;
    let found = due(&schedule, "2016-01-01T00:00Z", "2026-01-01T00:00Z");
    assert_eq!((found.fire.len(), found.more), (FIRED_MAX, true));
    assert_eq!(found.decided, found.fire.last().map(|last| last.nominal));
}

const EXPRESSIONS: [&str; 10] = [
    "* * * * *",
    "*/20 * * * *",
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-4 * * *",
    "0 */3 * * *",
    "59 23 * * *",
    "0 12 L * *",
    "5 1 * * SUN",
    "*/7 1-3 * * *",
];

fn schedules() -> impl Strategy<Value = Schedule> {
    let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let zone =
        proptest::sample::select(zones).prop_filter("no zone of places", |zone| TimeZone::get(zone).is_ok());
    prop_oneof![
        4 => (proptest::sample::select(EXPRESSIONS.to_vec()), zone).prop_map(|(text, zone)| cron(text, &zone)),
        1 => (1_000_u64..100_000_000).prop_map(every),
    ]
}

/// Times near a change of the zone's clock, as often as any other.
fn near_a_change(schedule: &Schedule, seed: i64) -> Timestamp {
    let any = jiff::Timestamp::from_second(seed).unwrap();
    let zone = TimeZone::get(&schedule.timezone).unwrap();
    let change = zone.following(any).next().map_or(any, |change| change.timestamp());
    Timestamp(if seed % 2 == 0 { any } else { change }.as_millisecond() - 7_200_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Next is strictly after, in whole minutes; intervals meet; ids are unique; back leads where forth came from.
    #[test]
    fn intervals_are_contiguous(mut schedule in schedules(), seed in 0_i64..2_500_000_000, jitter in 0_u64..100_000) {
        schedule.jitter_ms = jitter;
        let name = name();
        let times = Times::new(&name, &schedule).unwrap();
        let start = near_a_change(&schedule, seed);
        let mut at = start;
        let mut before = times.last_before(Timestamp(start.0 + 1));
        let mut ids = HashSet::new();
        for _ in 0..12 {
            let Some(next) = times.next_after(at) else { break };
            prop_assert!(next.nominal > at);
            prop_assert!(next.interval.start < next.interval.end && next.interval.end == next.nominal);
            prop_assert!(ids.insert(next.id));
            prop_assert!(next.fires_at >= next.nominal && next.fires_at.0 - next.nominal.0 <= 100_000);
            if let Some(before) = &before {
                prop_assert_eq!(next.interval.start, before.interval.end);
                prop_assert!(before.fires_at < next.nominal);
            }
            let last = times.last_before(Timestamp(next.nominal.0 + 1));
            prop_assert_eq!(last.as_ref(), Some(&next));
            // From any time in the interval the next is this one.
            let inside = Timestamp(next.interval.start.0 + (next.nominal.0 - next.interval.start.0) / 2);
            let after = times.next_after(inside);
            prop_assert_eq!(after.as_ref(), Some(&next));
            at = next.nominal;
            before = Some(next);
        }
    }

    /// However a stretch of time is cut by looks at the clock, what runs and what is dropped together is every time once.
    #[test]
    fn no_time_is_lost_or_doubled(
        mut schedule in schedules(),
        seed in 0_i64..2_500_000_000,
        looks in proptest::collection::vec(-3_000_000_i64..20_000_000, 1..20),
        catchup in proptest::sample::select(Catchup::ALL.to_vec()),
        window in proptest::option::of(1_u64..30_000_000),
    ) {
        (schedule.catchup, schedule.catchup_window_ms, schedule.jitter_ms) = (catchup, window, 50_000);
        let name = name();
        let times = Times::new(&name, &schedule).unwrap();
        let start = near_a_change(&schedule, seed);
        let (mut now, mut last, mut seen) = (start, start, Vec::new());
        for step in looks {
            now = Timestamp(now.0 + step);
            loop {
                let due = times.due(Some(last), now);
                prop_assert!(due.fire.iter().all(|fire| fire.fires_at <= now));
                if due.unlisted.is_some() { return Ok(()); }
                let mut all: Vec<Timestamp> = due.fire.iter().map(|fire| fire.nominal).collect();
                all.extend(due.dropped.iter().map(|(dropped, _)| dropped.nominal));
                all.sort_unstable();
                prop_assert_eq!(all.last().copied(), due.decided);
                seen.extend(all);
                last = due.decided.unwrap_or(last);
                if !due.more { break; }
            }
        }
        let mut expect = Vec::new();
        let mut at = start;
        while let Some(next) = times.next_after(at).filter(|next| next.nominal <= last) {
            at = next.nominal;
            expect.push(at);
        }
        prop_assert_eq!(seen, expect);
    }
}
