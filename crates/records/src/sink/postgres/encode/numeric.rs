//! A number as `numeric` has it in PostgreSQL's binary format: groups of four decimal digits around the point, the weight of
//! the first group, a sign, and how many places are shown (`numeric_send` in PostgreSQL's `numeric.c`).

use bytes::BufMut;

/// Digits before the point that any `numeric` holds at most, and places behind it:
/// <https://www.postgresql.org/docs/15/datatype-numeric.html>.
const DIGITS_MAX: i64 = 131_072;
const PLACES_MAX: i64 = 16_383;

/// Decimal digits of a group.
const GROUP: i64 = 4;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITE: u16 = 0xd000;
const MINUS_INFINITE: u16 = 0xf000;

/// A number as it is written: `DIGITS · 10^(point - DIGITS.len())`.
struct Number {
    negative: bool,
    /// In ASCII; the first is not 0. Empty for zero.
    digits: Vec<u8>,
    /// How many digits stand before the point; below 0 where zeros follow it.
    point: i64,
    /// Digits behind the point.
    places: i64,
}

impl Number {
    /// Reads `-12.50e3` and its like; digits may be missing on one side of the point.
    fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            None => (unsigned, 0),
            Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let point = length(whole.len()) - length(zeros) + exponent;
        let places = (length(fraction.len()) - exponent).max(0);
        Some(Self { negative: text.starts_with('-') && !digits.is_empty(), digits, point, places })
    }

    /// Returns whether there is room for it in a `numeric(precision, scale)`, after rounding.
    fn fits(&self, limits: Option<(i64, i64)>) -> bool {
        let Some((precision, scale)) = limits else {
            return self.places <= PLACES_MAX && (self.digits.is_empty() || self.point <= DIGITS_MAX);
        };
        let Ok(kept) = usize::try_from(self.point + scale) else { return true };
        let carries = self.digits.iter().take(kept).all(|digit| *digit == b'9')
            && self.digits.get(kept).is_some_and(|digit| *digit >= b'5');
        self.digits.is_empty() || self.point + i64::from(carries) <= precision - scale
    }

    fn put(&self, to: &mut Vec<u8>) {
        // What is further behind the point changes nothing in a column with limits, and others do not take it.
        let places = self.places.min(PLACES_MAX);
        let kept = usize::try_from(self.point + places).unwrap_or(0).min(self.digits.len());
        let digits = &self.digits[..kept];
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        let digits = &digits[..kept - zeros];
        let weight = (self.point + GROUP - 1).div_euclid(GROUP) - 1;
        // Zeros before the first digit, to the beginning of its group.
        let before = usize::try_from((weight + 1) * GROUP - self.point).expect("less than a group");
        let group = usize::try_from(GROUP).expect("a few");
        let groups = if digits.is_empty() { 0 } else { (before + digits.len()).div_ceil(group) };
        let (weight, sign) = match groups {
            0 => (0, 0),
            _ => (weight, if self.negative { NEGATIVE } else { 0 }),
        };
        to.put_u16(u16::try_from(groups).expect("as many as a numeric has at most"));
        to.put_i16(i16::try_from(weight).expect("within the bounds of a numeric"));
        to.put_u16(sign);
        to.put_u16(u16::try_from(places).expect("at most 16 383"));
        let zeros = |count: usize| std::iter::repeat_n(b'0', count);
        let after = (groups * group).saturating_sub(before + digits.len());
        let mut digits = zeros(before).chain(digits.iter().copied()).chain(zeros(after));
        for _ in 0..groups {
            let of_group = digits.by_ref().take(group);
            to.put_u16(of_group.fold(0, |value, digit| value * 10 + u16::from(digit - b'0')));
        }
    }
}

/// Appends the number that `text` is; `None` where it is none, or has more digits than the column has room for.
pub(super) fn encode(text: &str, limits: Option<(i64, i64)>, to: &mut Vec<u8>) -> Option<()> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" if limits.is_none() => Some(INFINITE),
        "-Infinity" if limits.is_none() => Some(MINUS_INFINITE),
        _ => None,
    };
    if let Some(sign) = special {
        to.put_slice(&[0; 4]);
        to.put_u16(sign);
        to.put_u16(0);
        return Some(());
    }
    let number = Number::parse(text)?;
    number.fits(limits).then(|| number.put(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_fit_their_precision() {
        for (text, limits, expected) in [
            ("1.5", None, true),
            ("-0.00e10", Some((2, 1)), true),
            ("0e999999", Some((2, 1)), true),
            ("0e999999", None, true),
            ("999.99", Some((5, 2)), true),
            ("999.994", Some((5, 2)), true),
            ("999.995", Some((5, 2)), false),
            ("1000", Some((5, 2)), false),
            ("1e2", Some((5, 2)), true),
            ("1e3", Some((5, 2)), false),
            ("0.009", Some((1, 2)), true),
            ("0.099", Some((1, 2)), false),
            ("0.004", Some((1, 2)), true),
            ("1e-999999999", Some((1, 2)), true),
            ("149", Some((1, -2)), true),
            ("1e131072", None, false),
            ("1e131071", None, true),
            ("1e-16383", None, true),
            ("1e-16384", None, false),
            ("1e99999999999", None, false),
            ("", None, false),
            ("abc", None, false),
            ("1.2.3", None, false),
            ("NaN", None, true),
            ("Infinity", None, true),
            ("Infinity", Some((5, 2)), false),
        ] {
            assert_eq!(encode(text, limits, &mut Vec::new()).is_some(), expected, "{text} {limits:?}");
        }
    }

    #[test]
    fn a_number_is_groups_of_four_digits_around_the_point() {
        for (text, weight, sign, places, groups) in [
            ("0", 0, 0, 0, &[][..]),
            ("-0.00", 0, 0, 2, &[]),
            ("1", 0, 0, 0, &[1]),
            ("+1.50", 0, 0, 2, &[1, 5000]),
            ("-12345.678", 1, NEGATIVE, 3, &[1, 2345, 6780]),
            ("10000", 1, 0, 0, &[1]),
            ("1e3", 0, 0, 0, &[1000]),
            ("1.5e3", 0, 0, 0, &[1500]),
            ("0.0001", -1, 0, 4, &[1]),
            ("0.00001", -2, 0, 5, &[1000]),
            (".5", -1, 0, 1, &[5000]),
            ("5.", 0, 0, 0, &[5]),
        ] {
            let mut bytes = Vec::new();
            encode(text, None, &mut bytes).unwrap();
            let mut expected = Vec::new();
            expected.put_u16(u16::try_from(groups.len()).unwrap());
            expected.put_i16(weight);
            expected.put_u16(sign);
            expected.put_u16(places);
            for group in groups {
                expected.put_u16(*group);
            }
            assert_eq!(bytes, expected, "{text}");
        }
    }
}
