use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

fn order(json: &str) -> OrderBytes {
    OrderBytes::of_json(json, false).unwrap()
}

#[test]
fn bytes_are_golden() {
    let check = |json: &str, expect: &[u8]| assert_eq!(order(json).as_bytes(), expect, "{json}");
    check("0", &[0x10, 1]);
    check("12", &[0x10, 2, 0x80, 0, 0, 2, b'1', b'2', 0]);
    check("-12", &[0x10, 0, 0x7f, 0xff, 0xff, 0xfd, !b'1', !b'2', 0xff]);
    check("\"1970-01-01\"", &[0x20, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    check("\"b\"", &[0x30, b'b']);
}

#[test]
fn kinds_are_ordered() {
    let ascending = [
        "-1e300",
        "-170141183460469231731687303715884105728",
        "-2",
        "-1.5",
        "-1",
        "-0.1",
        "0",
        "1e-300",
        "0.1",
        "1",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "1e300",
        "\"0001-01-01\"",
        "\"1969-12-31T23:59:59.999999999Z\"",
        "\"1970-01-01T00:00:00Z\"",
        "\"2026-01-01\"",
        "\"2026-01-01T00:00:00.000000001Z\"",
        "\"\"",
        "\"10\"",
        "\"9\"",
        "\"a\"",
        "\"ab\"",
        "\"é\"",
    ];
    for pair in ascending.windows(2) {
        assert!(order(pair[0]) < order(pair[1]), "{} is before {}", pair[0], pair[1]);
    }
}

#[test]
fn a_text_without_types_is_a_number_where_it_can_be() {
    let order = |json: &str| OrderBytes::of_json(json, true).unwrap();
    assert!(order("\"9\"") < order("\"10\""));
    assert!(order("\"0999\"") < order("\"1000\""));
    assert_eq!(order("\"1.50\""), order("1.5"));
    assert!(order("\"1.2.3\"") > order("\"9\""));
}

#[test]
fn what_has_no_order_is_refused() {
    let check = |json: &str, expect: OrderError| {
        assert_eq!(OrderBytes::of_json(json, false).unwrap_err(), expect, "{json}");
    };
    check("null", OrderError::Null);
    check("true", OrderError::Kind("a boolean"));
    check("[1]", OrderError::Kind("an array"));
    check("{}", OrderError::Kind("an object"));
    check("1e9999999999", OrderError::OutOfRange);
    check(&format!("\"{}\"", "x".repeat(255)), OrderError::TooLong);
    check(&"9".repeat(300), OrderError::TooLong);
    assert_eq!(order(&format!("\"{}\"", "x".repeat(254))).as_bytes().len(), OrderBytes::MAX);
}

#[test]
fn escapes_do_not_matter() {
    assert_eq!(order(r#""\u0061b""#), order("\"ab\""));
    assert_eq!(order(r#""2026\u002d01-01""#), order("\"2026-01-01\""));
}

fn integer(number: i128) -> OrderBytes {
    order(&number.to_string())
}

fn shown(moment: Timestamp, offset_seconds: i32) -> OrderBytes {
    let offset = Offset::from_seconds(offset_seconds).unwrap();
    order(&format!("\"{}\"", moment.display_with_offset(offset)))
}

proptest! {
    #[test]
    fn integers_sort_by_value(a: i128, b: i128) {
        prop_assert_eq!(integer(a).cmp(&integer(b)), a.cmp(&b));
    }

    #[test]
    fn small_integers_sort_by_value(a in -1000_i128..1000, b in -1000_i128..1000) {
        prop_assert_eq!(integer(a).cmp(&integer(b)), a.cmp(&b));
    }

    #[test]
    fn floats_sort_by_value(a in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, b in proptest::num::f64::NORMAL) {
        // The plain form and the one with an exponent.
        let (plain, exponent) = (|number: f64| order(&format!("{number}")), |number: f64| order(&format!("{number:e}")));
        if a.abs() < 1e200 && b.abs() < 1e200 && a.abs() > 1e-200 && b.abs() > 1e-200 {
            prop_assert_eq!(plain(a), exponent(a));
            prop_assert_eq!(plain(a).cmp(&exponent(b)), a.partial_cmp(&b).unwrap());
        }
        prop_assert_eq!(exponent(a).cmp(&exponent(b)), a.partial_cmp(&b).unwrap());
    }

    #[test]
    fn texts_sort_by_bytes(a in "[ -~é漢]{0,40}", b in "[ -~é漢]{0,40}") {
        let text = |text: &str| order(&serde_json::to_string(text).unwrap());
        if instant::parse(&a).is_none() && instant::parse(&b).is_none() {
            prop_assert_eq!(text(&a).cmp(&text(&b)), a.as_bytes().cmp(b.as_bytes()));
        }
    }

    #[test]
    fn moments_sort_by_instant_whatever_their_zone(
        a in -62_000_000_000_i64..250_000_000_000, nanoseconds in 0_i64..3, offset in -840_i32..=840,
        apart in -2_i64..=2, other in -840_i32..=840,
    ) {
        let first = Timestamp::new(a, 0).unwrap() + SignedDuration::from_nanos(nanoseconds);
        let second = first + SignedDuration::from_nanos(apart);
        // RFC 3339's offsets have whole minutes.
        prop_assert_eq!(shown(first, offset * 60).cmp(&shown(second, other * 60)), first.cmp(&second));
    }

    #[test]
    fn bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..=255)) {
        let order = OrderBytes::from_bytes(&bytes).unwrap();
        prop_assert_eq!(order.as_bytes(), &bytes[..]);
    }
}
