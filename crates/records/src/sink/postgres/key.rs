//! Keys that are two for cairn and would be one row here.
//!
//! A value that is rounded is told of as it is encoded ([`check`]); two values that are sent alike stand side by side in a
//! sorted batch ([`is_one_row`]); and where only the server knows what it holds to be equal, it is asked ([`Asked`]).
//! Columns that compare bytes, which are nearly all, cost no statement.

use std::borrow::Cow;

use tokio_postgres::Transaction;

use super::columns::{Column, Compares, Table};
use super::encode::{self, Kind};
use crate::fields::key_text;
use crate::order::decimal::Decimal;
use crate::sink::apart::{self, one_row, stored_as};
use crate::sink::record::{Layout, Value};
use crate::sink::table::{Wanted, fault, quoted};
use crate::sink::{Delivery, RecordFault};

const DATABASE: &str = "PostgreSQL";

/// How many faulty keys of one batch are looked for.
const FOUND_MAX: usize = 100;

/// Says why a value that `column` takes cannot be a key there: it is rounded, as others are to the same.
pub(super) fn check(column: &Column, value: &Value<'_>) -> Result<(), String> {
    let text = match value {
        Value::Number(text) => text,
        Value::Text(text) => text.as_ref(),
        Value::Null | Value::Bool(_) | Value::Nested(_) => return Ok(()),
    };
    let number = text.trim_ascii().trim_start_matches('+');
    match column.kind {
        Kind::Numeric(Some((_, scale))) if places(number) > scale => Err(format!(
            "the key field `{}` is {}, which PostgreSQL rounds to {scale} places, as it does others: declare the column as \
             `numeric`",
            column.name,
            value.shown(),
        )),
        Kind::Float4 | Kind::Float8 => match float(column.kind, number) {
            Some(stored) if !apart::is_exact(number, &stored) => {
                Err(stored_as(&column.name, value, &stored, DATABASE))
            }
            _ => Ok(()),
        },
        Kind::Timestamp | Kind::TimestampTz => match encode::without_nanoseconds(text) {
            Some(stored) => Err(stored_as(&column.name, value, &stored, DATABASE)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Returns that of an encoded key's value by which its column compares: two that are one row have the same.
pub(super) fn compared<'a>(column: &Column, encoded: &'a [u8]) -> Cow<'a, [u8]> {
    match (column.kind, &column.compares) {
        // Sent as text.
        (Kind::Numeric(_), _) => {
            let number = str::from_utf8(encoded).ok().map(|text| text.trim_ascii().trim_start_matches('+'));
            number.and_then(apart::canonical).map_or(encoded.into(), |number| number.into_bytes().into())
        }
        (_, Compares::WithoutBlanks) => {
            let blanks = encoded.iter().rev().take_while(|byte| **byte == b' ').count();
            encoded[..encoded.len() - blanks].into()
        }
        _ => encoded.into(),
    }
}

/// Returns how a float holds a number; `None` for words such as `Infinity`.
fn float(kind: Kind, text: &str) -> Option<String> {
    let value = apart::as_float(text)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is asked is how it stands in the narrower type"
    )]
    Some(if kind == Kind::Float4 { (value as f32).to_string() } else { value.to_string() })
}

/// Returns how many digits a number has behind the point.
fn places(number: &str) -> i64 {
    let count = |number: Decimal<'_>| {
        i64::try_from(number.digit_count()).unwrap_or(i64::MAX).saturating_sub(number.exponent().into())
    };
    Decimal::parse(number.as_bytes()).filter(|number| !number.is_zero()).map_or(0, count)
}

/// Returns the fault of the second of two records whose keys are sent with the same bytes, one field after the other,
/// where these are one row and the keys are not one.
pub(super) fn is_one_row(
    table: &Table,
    wanted: &Wanted,
    records: &[Delivery],
    one: usize,
    other: usize,
) -> Option<RecordFault> {
    // Of each field how it came, and what is compared.
    let of = |index: usize| -> Option<Vec<(&str, Vec<u8>)>> {
        let names = table.columns.iter().map(|column| column.name.clone()).collect();
        let mut layout = Layout::new(names, wanted.paths());
        let mut slots = vec![None; layout.width()];
        layout.read(&records[index].record, &mut slots).ok()?;
        let encoded = wanted.key.iter().map(|path| {
            let position = table.position(&path.to_string())?;
            let (column, value) = (&table.columns[position], slots[position].as_ref()?);
            let mut bytes = Vec::new();
            column.kind.encode(value, &mut bytes)?;
            // Behind its length.
            Some((value.kind(), compared(column, &bytes[4..]).into_owned()))
        });
        encoded.collect()
    };
    let (fields, others) = (of(one)?, of(other)?);
    // Where one field's value ends does not show in bytes that were put one behind the other.
    if fields.iter().map(|(_, bytes)| bytes).ne(others.iter().map(|(_, bytes)| bytes)) {
        return None;
    }
    let unlike = fields.iter().zip(&others).find(|((kind, _), (other, _))| kind != other);
    of_two(wanted, records, one, other).or_else(|| {
        let ((kind, _), (other_kind, _)) = unlike?;
        let key = key_text(&records[one].record, &wanted.key);
        let text = format!("the key `{key}` is {kind} and {other_kind}, which would be one row: have the worker write them alike");
        Some(fault(one.max(other), text))
    })
}

/// Returns the fault of the later of two records that are one row; `None` where they have one key, as a worker can make them.
fn of_two(wanted: &Wanted, records: &[Delivery], one: usize, other: usize) -> Option<RecordFault> {
    let (first, last) = (one.min(other), one.max(other));
    let [first, key] = [first, last].map(|index| key_text(&records[index].record, &wanted.key));
    (first != key).then(|| fault(last, one_row(&first, &key)))
}

/// What the server is asked of a batch that lies in its staging table.
pub(super) struct Asked {
    query: String,
}

impl Asked {
    /// `None` where no column of the key compares otherwise than by bytes.
    pub(super) fn of(table: &Table, wanted: &Wanted, quoted_table: &str, stage: &str) -> Option<Self> {
        let key: Vec<(usize, &Column)> = wanted
            .key_names()
            .iter()
            .filter_map(|name| table.position(name))
            .map(|position| (position, &table.columns[position]))
            .collect();
        if !key.iter().any(|(_, column)| matches!(column.compares, Compares::ByServer { .. })) {
            return None;
        }
        let numbers: Vec<String> = key.iter().map(|(position, _)| format!("k{position}")).collect();
        let values = key.iter().map(|(position, column)| {
            format!("c{position}, {} AS k{position}", super::batch::staged_value("", *position, column))
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let folded: Vec<(String, String)> = key
            .iter()
            .filter(|(_, column)| matches!(column.compares, Compares::ByServer { keeps_text: true, .. }))
            .map(|(position, column)| {
                let stored = format!("t.{}::text COLLATE \"C\"", quoted(&column.name));
                (stored.clone(), format!("{stored} <> s.c{position} COLLATE \"C\""))
            })
            .collect();
        // In the order of the copy, which is that of the rows.
        let staged =
            format!("WITH s AS (SELECT row_number() OVER (ORDER BY ctid) AS n, {values} FROM {stage})");
        let among = format!(
            "SELECT n, first, NULL::text FROM (SELECT n, min(n) OVER (PARTITION BY {}) AS first FROM s) AS w WHERE n <> first",
            numbers.join(", ")
        );
        let before = if folded.is_empty() {
            String::new()
        } else {
            let same: Vec<String> = key
                .iter()
                .map(|(position, column)| format!("t.{} = s.k{position}", quoted(&column.name)))
                .collect();
            let (stored, differs): (Vec<String>, Vec<String>) = folded.into_iter().unzip();
            format!(
                " UNION ALL SELECT n, NULL, concat_ws(', ', {}) FROM s JOIN {quoted_table} AS t ON {} WHERE {}",
                stored.join(", "),
                same.join(" AND "),
                differs.join(" OR "),
            )
        };
        Some(Self { query: format!("{staged} {among}{before} LIMIT {FOUND_MAX}") })
    }

    /// Asks; `index` tells which record of the batch the n-th row is, from 0.
    pub(super) async fn faults(
        &self,
        transaction: &Transaction<'_>,
        wanted: &Wanted,
        records: &[Delivery],
        index: impl Fn(usize) -> usize,
    ) -> Result<Vec<RecordFault>, tokio_postgres::Error> {
        let at = |number: i64| index(usize::try_from(number - 1).expect("rows are counted from 1"));
        let mut faults: Vec<RecordFault> = Vec::new();
        for row in transaction.query(&self.query, &[]).await? {
            let this = at(row.get(0));
            let found = if let Some(first) = row.get::<_, Option<i64>>(1) {
                of_two(wanted, records, at(first), this)
            } else {
                let key = key_text(&records[this].record, &wanted.key);
                Some(fault(this, one_row(&row.get::<_, String>(2), &key)))
            };
            faults.extend(found.filter(|found| faults.iter().all(|known| known.index != found.index)));
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_no_places() {
        for (number, expected) in
            [("7", 0), ("7.0000000000", 0), ("-7.50", 1), ("1.011", 3), ("1e-3", 3), ("1e3", -3), ("0.00", 0)]
        {
            assert_eq!(places(number), expected, "{number}");
        }
    }
}
