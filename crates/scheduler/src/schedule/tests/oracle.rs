//! Another program's answers: see `scripts/cron-oracle`, which wrote them and says what it left out.

use cairn_model::{Cron, Timestamp};
use jiff::tz::TimeZone;

use super::{Times, cron, name};

/// Lines on which cronsim is wrong, all of wildcards.
const WRONG: usize = 11;

#[test]
fn cronsim_gives_the_same_times() {
    let lines = zstd::decode_all(include_bytes!("cronsim.tsv.zst").as_slice()).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let (mut compared, mut wrong) = (0, 0);
    let name = name();
    for line in lines.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let &[expression, zone, start, ref steps @ ..] = parts.as_slice() else {
            panic!("no triple: {line}")
        };
        let schedule = cron(expression, zone);
        let times = Times::new(&name, &schedule).unwrap();
        let start = Timestamp(start.parse::<i64>().unwrap() * 1_000);
        let (mut at, mut expected) = (start, start);
        let (mut found, mut expect) = (Vec::new(), Vec::new());
        for step in steps {
            expected = Timestamp(expected.0 + step.parse::<i64>().unwrap() * 1_000);
            expect.push(expected);
            at = times.next_after(at).unwrap().nominal;
            found.push(at);
        }
        compared += 1;
        if found != expect {
            let parsed: Cron = expression.parse().unwrap();
            assert!(parsed.is_wildcard(), "{line}\n{found:?}");
            assert_eq!(found, walk(&parsed, times.zone(), start), "{line}");
            wrong += 1;
        }
    }
    assert_eq!((compared, wrong), (12_000, WRONG));
}

/// Looks at the clock in every minute: slow, and without any thought of what happens where it is changed.
fn walk(cron: &Cron, zone: &TimeZone, start: Timestamp) -> Vec<Timestamp> {
    let minutes = (start.0.div_euclid(60_000) + 1..).map(|minute| Timestamp(minute * 60_000));
    let shown = minutes.filter(|minute| {
        let now = zone.to_datetime(jiff::Timestamp::from_millisecond(minute.0).unwrap());
        let part = |part: i8| u8::try_from(part).unwrap();
        let weekday = part(now.date().weekday().to_sunday_zero_offset());
        cron.has_minute(part(now.minute()))
            && cron.has_hour(part(now.hour()))
            && cron.has_month(part(now.month()))
            && cron.has_day(part(now.day()), part(now.date().days_in_month()), weekday)
    });
    shown.take(3).collect()
}
