//! Keys that are two for cairn and would be one row here.
//!
//! What shows in one value is looked for as it is encoded ([`check`]); two values that are sent alike stand side by side in a
//! sorted batch ([`is_one_row`]); and where only the server knows what it holds to be equal, it is asked ([`Asked`]).
//! Columns that compare bytes, which are nearly all, cost no statement.

use tokio_postgres::Transaction;

use super::columns::{Column, Compares, Table};
use super::encode::{self, Kind};
use crate::fields::key_text;
use crate::order::decimal::Decimal;
use crate::sink::apart::{self, CAPITALS, Form, Forms, TEXT, one_row, stored_as};
use crate::sink::record::{Layout, Value};
use crate::sink::table::{Wanted, fault, quoted};
use crate::sink::{Delivery, RecordFault};

const DATABASE: &str = "PostgreSQL";

/// How many faulty keys of one batch are looked for.
const FOUND_MAX: usize = 100;

/// Says why a value that `column` takes cannot be a key there: it would be one row with another.
pub(super) fn check(column: &Column, value: &Value<'_>, forms: &mut Forms) -> Result<(), String> {
    if let Some(stored) = altered(column, value) {
        return Err(stored_as(&column.name, value, &stored, DATABASE));
    }
    if let Kind::Numeric(Some((_, scale))) = column.kind
        && let Value::Number(text) = value
        && places(text) > scale
    {
        return Err(format!(
            "the key field `{}` is {}, which PostgreSQL rounds to {scale} places, as it does others: declare the column as \
             `numeric`",
            column.name,
            value.shown(),
        ));
    }
    match form(column.kind, value).and_then(|form| forms.other(&column.name, form, DATABASE)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn form(kind: Kind, value: &Value<'_>) -> Option<Form> {
    match (kind, value) {
        (Kind::Text(_) | Kind::Other, _) => apart::form_as_text(value),
        (Kind::Bool, Value::Text(_)) => Some(TEXT),
        (Kind::Uuid | Kind::Bytea, Value::Text(text)) => {
            let has = |of: fn(&u8) -> bool| text.as_bytes().iter().any(of);
            // Digits alone are the same in both.
            (has(u8::is_ascii_uppercase) || has(|byte| byte.is_ascii_lowercase() && *byte != b'x'))
                .then(|| if has(u8::is_ascii_uppercase) { CAPITALS } else { TEXT })
        }
        (
            Kind::Bool
            | Kind::Int2
            | Kind::Int4
            | Kind::Int8
            | Kind::Float4
            | Kind::Float8
            | Kind::Numeric(_),
            _,
        ) => apart::form_as_number(value),
        _ => None,
    }
}

/// Returns what stands in the column where that is not the one way to write `value`.
fn altered(column: &Column, value: &Value<'_>) -> Option<String> {
    let stored = match (column.kind, value) {
        (Kind::Text(_), Value::Text(text)) if column.compares == Compares::WithoutBlanks => {
            text.trim_end_matches(' ').to_owned()
        }
        (Kind::Int2 | Kind::Int4 | Kind::Int8, Value::Text(_)) => encode::integer(value)?.to_string(),
        (Kind::Float4 | Kind::Float8, Value::Number(text)) => {
            let stored = float(column.kind, text)?;
            return (!apart::is_exact(text, &stored)).then_some(stored);
        }
        (Kind::Float4 | Kind::Float8, Value::Text(text)) => float(column.kind, text)?,
        (Kind::Numeric(_), Value::Text(text)) if !apart::is_canonical(text) => {
            let plain = text.trim().trim_start_matches('+');
            apart::as_float(plain).and_then(|_| apart::canonical(plain)).unwrap_or_else(|| plain.to_owned())
        }
        (Kind::Bool, Value::Text(_)) => encode::boolean(value)?.to_string(),
        (Kind::Date, Value::Text(text)) => encode::date_text(text)?,
        (Kind::Timestamp | Kind::TimestampTz, Value::Text(text)) => return encode::without_nanoseconds(text),
        (Kind::Uuid, Value::Text(text)) => in_one_case(text, &encode::uuid_text(text)?),
        (Kind::Bytea, Value::Text(text)) => in_one_case(text, &text.to_ascii_lowercase()),
        _ => return None,
    };
    (value != &Value::Text(stored.as_str().into())).then_some(stored)
}

/// Returns `small` in the letters of `text`, where those are all of one case.
fn in_one_case(text: &str, small: &str) -> String {
    let is_small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let capitals = small.to_ascii_uppercase().replace("\\X", "\\x");
    if !is_small && text == capitals { capitals } else { small.to_owned() }
}

fn float(kind: Kind, text: &str) -> Option<String> {
    let value: f64 = text.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is asked is how it stands in the narrower type"
    )]
    let stored = if kind == Kind::Float4 { (value as f32).to_string() } else { value.to_string() };
    Some(match stored.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => stored,
    })
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
    let of = |index: usize| -> Option<Vec<Vec<u8>>> {
        let names = table.columns.iter().map(|column| column.name.clone()).collect();
        let mut layout = Layout::new(names, wanted.paths());
        let mut slots = vec![None; layout.width()];
        layout.read(&records[index].record, &mut slots).ok()?;
        let encoded = wanted.key.iter().map(|path| {
            let position = table.position(&path.to_string())?;
            let mut bytes = Vec::new();
            table.columns[position].kind.encode(slots[position].as_ref()?, &mut bytes)?;
            Some(bytes)
        });
        encoded.collect()
    };
    // Where one field's value ends does not show in bytes that were put one behind the other.
    if of(one)? != of(other)? {
        return None;
    }
    of_two(wanted, records, one, other)
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
