//! The exact value of a number as it is written: no digit is lost to a float.

/// A number `± 0.d₁d₂… · 10^exponent`, where neither the first digit nor the last is 0; zero has no digits.
///
/// Two texts are the same number if and only if these are equal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    /// The digits are those of `whole`, then those of `fraction`.
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Decimal<'a> {
    /// Reads a number in JSON's grammar, or one that begins with zeros; `None` when its exponent does not fit 32 bits.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, written) = match memchr::memchr2(b'e', b'E', text) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let whole = without_leading_zeros(whole);
        let mut exponent = i64::try_from(whole.len()).ok()?.checked_add(written)?;
        let mut fraction = without_trailing_zeros(fraction);
        if whole.is_empty() {
            let significant = without_leading_zeros(fraction);
            exponent = exponent.checked_sub(i64::try_from(fraction.len() - significant.len()).ok()?)?;
            fraction = significant;
        }
        let whole = if fraction.is_empty() { without_trailing_zeros(whole) } else { whole };
        if whole.is_empty() && fraction.is_empty() {
            return Some(Self { negative: false, whole, fraction, exponent: 0 });
        }
        Some(Self { negative, whole, fraction, exponent: i32::try_from(exponent).ok()? })
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.digit_count() == 0
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative
    }

    pub(crate) fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Returns the digits in ASCII.
    pub(crate) fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.iter().chain(self.fraction).copied()
    }

    pub(crate) fn digit_count(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// Returns the value as an integer, if it is one that fits.
    pub(crate) fn to_i64(self) -> Option<i64> {
        let places = usize::try_from(self.exponent).ok()?;
        if places < self.digit_count() || places > 19 {
            return None;
        }
        let digits = self.digits().chain(std::iter::repeat(b'0')).take(places);
        let magnitude = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Writes the one JSON text of this value: `1`, `0.5`, `-12.25`, `1e300`.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            return out.push(b'0');
        }
        if self.negative {
            out.push(b'-');
        }
        let count = self.digit_count();
        match self.exponent {
            places @ 1..=40 => {
                let places = usize::try_from(places).expect("it is between 1 and 40");
                out.extend(self.digits().chain(std::iter::repeat(b'0')).take(places));
                if count > places {
                    out.push(b'.');
                    out.extend(self.digits().skip(places));
                }
            }
            zeros @ -8..=0 => {
                out.extend_from_slice(b"0.");
                out.extend((zeros..0).map(|_| b'0'));
                out.extend(self.digits());
            }
            exponent => {
                out.extend(self.digits().take(1));
                if count > 1 {
                    out.push(b'.');
                    out.extend(self.digits().skip(1));
                }
                out.extend_from_slice(format!("e{}", i64::from(exponent) - 1).as_bytes());
            }
        }
    }
}

/// Returns whether `text` is written as a number without an exponent: what a file without types calls a number.
pub(crate) fn is_plain_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match memchr::memchr(b'.', text) {
        Some(at) => digits(&text[..at]) && digits(&text[at + 1..]),
        None => digits(text),
    }
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = without_leading_zeros(digits);
    if digits.len() > 18 {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -magnitude } else { magnitude })
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|digit| **digit == b'0').count()..]
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    &digits[..digits.len() - digits.iter().rev().take_while(|digit| **digit == b'0').count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        Decimal::parse(text.as_bytes()).unwrap().write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn equal_numbers_have_one_text() {
        let check = |texts: &[&str], expect: &str| {
            for text in texts {
                assert_eq!(json(text), expect, "{text}");
            }
        };
        check(&["1", "1.0", "1e0", "10e-1", "0.1E+1", "001"], "1");
        check(&["0", "-0", "0.000", "0e99"], "0");
        check(&["-120", "-1.2e2", "-1200.00e-1"], "-120");
        check(&["0.5", "5e-1", "0.50"], "0.5");
        check(&["12.25", "1225e-2"], "12.25");
        check(&["0.0000000012"], "0.0000000012");
        check(&["12e-10"], "0.0000000012");
        check(&["12e-11"], "1.2e-10");
        check(&["1e300"], "1e300");
        check(&["123456789012345678901234567890"], "123456789012345678901234567890");
        check(&["1.5e41"], "1.5e41");
    }

    #[test]
    fn an_exponent_out_of_range_is_no_value() {
        assert!(Decimal::parse(b"1e2147483647").is_none());
        assert!(Decimal::parse(b"1e99999999999999999999").is_none());
        assert!(Decimal::parse(b"1e00000000000000000000000000001").is_some());
    }

    #[test]
    fn integers_fit_or_do_not() {
        let check = |text: &str, expect: Option<i64>| {
            assert_eq!(Decimal::parse(text.as_bytes()).unwrap().to_i64(), expect, "{text}");
        };
        check("0", Some(0));
        check("-7.0", Some(-7));
        check("12e2", Some(1200));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("9223372036854775808", None);
        check("0.5", None);
        check("1e30", None);
    }

    #[test]
    fn a_plain_number_has_only_digits_and_a_point() {
        for text in ["0", "-1", "007", "1.50"] {
            assert!(is_plain_number(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "1.", ".5", "1e5", "1.2.3", "a1", "+1"] {
            assert!(!is_plain_number(text.as_bytes()), "{text}");
        }
    }
}
