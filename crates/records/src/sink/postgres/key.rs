//! Keys that are two for cairn and would be one row here.
//!
//! A value that is rounded is told of as it is encoded ([`check`]); two values that are sent alike stand side by side in a
//! sorted batch ([`is_one_row`]); where only the server knows what it holds to be equal, it is asked ([`Asked`]); and what
//! is written in several ways in several batches is told apart by what is remembered of it ([`Keys`]). Columns that compare
//! bytes, which are nearly all, and keys that are written as they are stored, cost no statement.

use std::borrow::Cow;

use tokio_postgres::Transaction;

use super::batch::Target;
use super::columns::{Column, Compares, Table};
use super::encode::{self, Kind};
use crate::fields::{key_json, key_text};
use crate::order::decimal::Decimal;
use crate::sink::apart::{self, one_row, stored_as};
use crate::sink::record::{Layout, Value};
use crate::sink::spelling::{self, EMPTY, Known, Verdict};
use crate::sink::table::{Wanted, fault, quoted};
use crate::sink::{Delivery, Operation, RecordFault};

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
        Kind::Timestamp(places) | Kind::TimestampTz(places) => match encode::rounded(text, places) {
            Some(stored) => Err(stored_as(&column.name, value, &stored, DATABASE)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Returns whether a key's value is written as the column shows it: no other that is has the same row. Where the server
/// compares, it is asked, or (types that are sent as text) nobody knows.
pub(super) fn is_plain(column: &Column, value: &Value<'_>) -> bool {
    let Value::Text(text) = value else {
        // Of numbers one is one key however it is written.
        return !matches!(
            (column.kind, value),
            (Kind::Bool, Value::Number(_)) | (Kind::Int2 | Kind::Int4 | Kind::Int8, Value::Bool(_))
        );
    };
    let bytes = text.as_bytes();
    let has = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    match column.kind {
        Kind::Bool => matches!(text.as_ref(), "true" | "false"),
        Kind::Int2 | Kind::Int4 | Kind::Int8 => spelling::is_plain_integer(text),
        Kind::Float4 | Kind::Float8 | Kind::Numeric(_) => spelling::is_plain_number(text),
        Kind::Text(_) => column.compares != Compares::WithoutBlanks || !text.ends_with(' '),
        Kind::Date => bytes.len() == 10 && has(4, b'-') && has(7, b'-'),
        // `2024-05-01T10:00:00`, with a fraction or without, in a column with a time zone `Z` behind it.
        Kind::Timestamp(_) | Kind::TimestampTz(_) => {
            let zoned = matches!(column.kind, Kind::TimestampTz(_));
            let local = if zoned { bytes.strip_suffix(b"Z") } else { Some(bytes) };
            local.is_some_and(is_plain_moment)
        }
        Kind::Uuid => {
            bytes.len() == 36
                && [8, 13, 18, 23].into_iter().all(|at| has(at, b'-'))
                && !bytes.iter().any(u8::is_ascii_uppercase)
        }
        Kind::Bytea => !bytes.iter().any(u8::is_ascii_uppercase),
        Kind::Json | Kind::Jsonb | Kind::Other => true,
    }
}

/// Returns whether a moment is written as `2024-05-01T10:00:00`, with a fraction without zeros at its end or none. A leap
/// second is that before it.
fn is_plain_moment(text: &[u8]) -> bool {
    const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((seconds, fraction)) = text.split_first_chunk::<19>() else { return false };
    let has_form = FORM.iter().zip(seconds).all(|(form, byte)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    });
    let is_fraction = match fraction {
        [] => true,
        [b'.', digits @ .., last] => {
            last.is_ascii_digit() && *last != b'0' && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    has_form && is_fraction && !seconds.ends_with(b"60")
}

/// Returns that of a key's value, encoded in `encoded`, by which its column compares: two that are one row have the same.
pub(super) fn compared<'a>(column: &Column, value: &Value<'_>, encoded: &'a [u8]) -> Cow<'a, [u8]> {
    match (column.kind, &column.compares) {
        // A number is sent with the places with which it was written, and remembered as the one text that it has.
        (Kind::Numeric(_), _) => {
            let text = encode::scalar(value);
            let number = text.as_deref().map(|text| text.trim_ascii().trim_start_matches('+'));
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
    let mut layout = layout(table, wanted);
    let mut of = |index: usize| fields(&mut layout, table, wanted, &records[index]);
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

/// Returns the columns of the key, each with where it stands.
fn key_columns<'t>(table: &'t Table, wanted: &Wanted) -> Vec<(usize, &'t Column)> {
    let names = wanted.key_names();
    let positions = names.iter().filter_map(|name| table.position(name));
    positions.map(|position| (position, &table.columns[position])).collect()
}

fn layout(table: &Table, wanted: &Wanted) -> Layout {
    let names = table.columns.iter().map(|column| column.name.clone()).collect();
    Layout::new(names, wanted.paths())
}

/// Returns of each field of a record's key how it came, and what is compared.
fn fields(
    layout: &mut Layout,
    table: &Table,
    wanted: &Wanted,
    record: &Delivery,
) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let mut slots = vec![None; layout.width()];
    layout.read(&record.record, &mut slots).ok()?;
    let encoded = wanted.key.iter().map(|path| {
        let position = table.position(&path.to_string())?;
        let (column, value) = (&table.columns[position], slots[position].as_ref()?);
        let mut bytes = Vec::new();
        column.kind.encode(value, &mut bytes)?;
        // Behind its length.
        Some((value.kind(), compared(column, value, &bytes[4..]).into_owned()))
    });
    encoded.collect()
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
        let key = key_columns(table, wanted);
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

/// The keys of one load, in a transaction: what is remembered of those that are not plain.
#[derive(Debug)]
pub(super) struct Keys {
    /// The table that remembers, quoted, with its schema.
    pub(super) table: String,
    pub(super) scope: String,
    pub(super) known: Known,
}

impl Keys {
    /// Reads what is known of a load, noting first whether the table is empty where it has `begun` just now.
    pub(super) async fn of(
        transaction: &Transaction<'_>,
        table: &str,
        scope: &str,
        begun_in: Option<&str>,
    ) -> Result<Self, tokio_postgres::Error> {
        if let Some(target) = begun_in {
            let note = format!(
                "INSERT INTO {table} (scope, stored, key) SELECT $1, $2, '' WHERE NOT EXISTS (SELECT 1 FROM {target})
                 ON CONFLICT DO NOTHING"
            );
            transaction.execute(&note, &[&scope, &EMPTY]).await?;
        }
        let query = format!(
            "SELECT EXISTS (SELECT 1 FROM {table} WHERE scope = $1 AND stored = $2),
                    EXISTS (SELECT 1 FROM {table} WHERE scope = $1 AND stored LIKE 'key %')"
        );
        let row = transaction.query_one(&query, &[&scope, &EMPTY]).await?;
        let known = Known { empty: row.get(0), any: row.get(1) };
        Ok(Self { table: table.to_owned(), scope: scope.to_owned(), known })
    }

    /// Compares keys with whom their rows belong to, and remembers to whom they belong from now on. `rows` are those of the
    /// staging table, each with its record's index, and whether its key is plain.
    pub(super) async fn faults(
        &self,
        transaction: &Transaction<'_>,
        target: &Target<'_>,
        records: &[Delivery],
        rows: impl Iterator<Item = (usize, bool)>,
    ) -> Result<Vec<RecordFault>, tokio_postgres::Error> {
        let (table, wanted) = (target.table, target.wanted);
        let mut layout = layout(table, wanted);
        let (mut numbers, mut stored, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (index, is_plain)) in (1_i64..).zip(rows) {
            if is_plain && !self.known.any {
                continue;
            }
            let Some(fields) = fields(&mut layout, table, wanted, &records[index]) else { continue };
            numbers.push(number);
            stored.push(spelling::stored(fields.iter().map(|(_, bytes)| bytes.as_slice())));
            asked.push((index, is_plain));
        }
        let key = key_columns(table, wanted);
        let list = |of: &dyn Fn(usize, &Column) -> String, between: &str| {
            key.iter().map(|(position, column)| of(*position, column)).collect::<Vec<_>>().join(between)
        };
        let staged = list(
            &|position, column| {
                format!("{} AS k{position}", super::batch::staged_value("", position, column))
            },
            ", ",
        );
        let shown = list(&|_, column| format!("t.{}::text", quoted(&column.name)), ", ");
        let same = list(&|position, column| format!("t.{} = s.k{position}", quoted(&column.name)), " AND ");
        // Row by row, so that each is looked up by the index, whatever the planner thinks of the staging table.
        let query = format!(
            "WITH s AS (SELECT row_number() OVER (ORDER BY ctid) AS n, {staged} FROM {})
             SELECT (SELECT c.key FROM {} AS c WHERE c.scope = $3 AND c.stored = w.stored),
                    (SELECT concat_ws(', ', {shown}) FROM {} AS t WHERE {same} LIMIT 1)
             FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS w (n, stored, o) JOIN s ON s.n = w.n ORDER BY w.o",
            target.staging.name, self.table, target.quoted,
        );
        let found = transaction.query(&query, &[&numbers, &stored, &self.scope]).await?;
        let (mut claimed, mut owners, mut released) = (Vec::new(), Vec::new(), Vec::new());
        let mut faults = Vec::new();
        for ((row, (index, is_plain)), stored) in found.iter().zip(asked).zip(&stored) {
            let key = key_json(&records[index].record, &wanted.key);
            let (owner, stands): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
            let is_put = records[index].operation == Operation::Put;
            match self.known.decide(&key, is_plain, is_put, owner, stands) {
                Verdict::Goes => {}
                Verdict::Claims => {
                    claimed.push(stored);
                    owners.push(key);
                }
                Verdict::Releases => released.push(stored),
                Verdict::Other(error) => faults.push(fault(index, error)),
            }
        }
        if faults.is_empty() && !released.is_empty() {
            let forget = format!("DELETE FROM {} WHERE scope = $1 AND stored = ANY ($2)", self.table);
            transaction.execute(&forget, &[&self.scope, &released]).await?;
        }
        if faults.is_empty() && !claimed.is_empty() {
            let remember = format!(
                "INSERT INTO {} (scope, stored, key) SELECT $1, stored, key FROM unnest($2::text[], $3::text[]) AS w (stored, key)
                 ON CONFLICT (scope, stored) DO UPDATE SET key = EXCLUDED.key",
                self.table
            );
            transaction.execute(&remember, &[&self.scope, &claimed, &owners]).await?;
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
