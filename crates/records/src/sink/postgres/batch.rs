//! A batch on its way into the table: encoded, copied into a staging table, and from there put and deleted by one
//! statement each.

use std::collections::HashSet;
use std::ops::Range;

use bytes::BufMut;
use cairn_model::{FieldPath, SinkMode};
use tokio_postgres::Transaction;

use super::columns::{Column, Compares, Table};
use super::direct::copy_in;
use super::encode::Kind;
use super::error::{Failure, of_records, sentence};
use super::key::{self, Asked, Keys};
use crate::sink::record::{Layout, Value};
use crate::sink::table::{NO_KEY, Wanted, fault, list, quoted, unknown_fields};
use crate::sink::{Delivery, Operation, RecordFault};

/// How many faulty records one delivery looks for, when the server must be asked: each costs some statements.
const FAULTS_MAX: usize = 100;

/// Bytes of an encoded row before its columns: how many fields there are, and the group with its length.
pub(super) const HEAD: usize = 2 + 4 + 4;

/// A row that is not put but whose key is deleted.
const DELETE: i32 = -1;

/// Records in the binary format of `COPY`, in the order of their key.
pub(super) struct Encoded {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// For each group of rows, by number: which columns they leave to their default.
    pub(super) groups: Vec<Vec<bool>>,
    deletes: bool,
    /// Rows that are applied by statements of their own, one after the other: of one key each has one at most.
    turns: Vec<Range<usize>>,
    /// Indices of the records whose key is not written as it is stored.
    pub(super) not_plain: HashSet<usize>,
    /// What does not fit; the rows are those of the other records.
    pub(super) faults: Vec<RecordFault>,
}

struct Row {
    /// In the batch.
    index: usize,
    bytes: Range<usize>,
}

impl Encoded {
    /// Returns the rows in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &self.bytes[row.bytes.clone()])
    }

    /// Sorts the rows by what is compared of their keys, and those of one key into turns, as they came. Returns the indices of
    /// the records of which one follows the other with the same.
    fn sort<'k>(&mut self, of: impl Fn(usize) -> &'k [u8]) -> Vec<[usize; 2]> {
        // Indexes grow at their right end more often, and two processes lock rows in the same order.
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by(|a, b| of(*a).cmp(of(*b)).then(a.cmp(b)));
        // Of what is sorted by its bytes, equals stand side by side.
        let (mut turns, mut same) = (vec![0_usize; order.len()], Vec::new());
        for pair in order.windows(2).filter(|pair| of(pair[0]) == of(pair[1])) {
            turns[pair[1]] = turns[pair[0]] + 1;
            same.push([pair[0], pair[1]].map(|row| self.rows[row].index));
        }
        if !same.is_empty() {
            order.sort_by_key(|row| turns[*row]);
        }
        let mut start = 0;
        for turn in order.chunk_by(|a, b| turns[*a] == turns[*b]) {
            self.turns.push(start..start + turn.len());
            start += turn.len();
        }
        let row = |row: usize| Row { index: self.rows[row].index, bytes: self.rows[row].bytes.clone() };
        self.rows = order.into_iter().map(row).collect();
        same
    }
}

/// Encodes `records`.
pub(super) fn encode(table: &Table, wanted: &Wanted, records: &[Delivery]) -> Encoded {
    let columns = &table.columns;
    let at = |path: &FieldPath| table.position(&path.to_string());
    let key: Vec<usize> = wanted.key.iter().filter_map(at).collect();
    let guard: Option<usize> = wanted.version.as_ref().and_then(at);
    let keyed = wanted.mode != SinkMode::Append;
    let mut layout = Layout::new(columns.iter().map(|column| column.name.clone()).collect(), wanted.paths());
    let mut encoded = Encoded {
        bytes: Vec::new(),
        rows: Vec::new(),
        groups: Vec::new(),
        deletes: false,
        turns: Vec::new(),
        not_plain: HashSet::new(),
        faults: Vec::new(),
    };
    let (mut keys, mut keys_at): (Vec<u8>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    let width = i16::try_from(columns.len() + 1).expect("a table has at most 1600 columns");
    let mut slots = Vec::new();
    for (index, delivery) in records.iter().enumerate() {
        slots.clear();
        slots.resize(layout.width(), None);
        let delete = delivery.operation == Operation::Delete;
        let start = encoded.bytes.len();
        let mut is_plain = true;
        let mut encode = || -> Result<Range<usize>, String> {
            let unknown = layout.read(&delivery.record, &mut slots)?;
            if delete && key.is_empty() {
                return Err(NO_KEY.to_owned());
            }
            if !delete && !unknown.is_empty() {
                return Err(unknown_fields(&unknown, &wanted.table, "text"));
            }
            let group = if delete { DELETE } else { group(&mut encoded.groups, columns, &slots) };
            encoded.bytes.put_i16(width);
            encoded.bytes.put_i32(4);
            encoded.bytes.put_i32(group);
            let key_start = keys.len();
            for (position, (column, slot)) in columns.iter().zip(&slots).enumerate() {
                let is_key = key.contains(&position);
                let left_out = match slot {
                    Some(_) => delete && !is_key && guard != Some(position),
                    None => delete && !is_key || column.has_default,
                };
                let before = encoded.bytes.len();
                if left_out && !(is_key && keyed) {
                    encoded.bytes.put_i32(-1);
                } else {
                    let value = slot.as_ref().unwrap_or(&Value::Null);
                    column.encode(value, is_key && keyed, &mut encoded.bytes)?;
                    if is_key && keyed {
                        key::check(column, value)?;
                        is_plain &= key::is_plain(column, value);
                    }
                }
                if is_key {
                    // Without its length: a shorter text comes first only when it is the beginning of the other.
                    let value = slot.as_ref().unwrap_or(&Value::Null);
                    keys.extend_from_slice(&key::compared(column, value, &encoded.bytes[before + 4..]));
                }
            }
            Ok(key_start..keys.len())
        };
        match encode() {
            Ok(of_key) => {
                keys_at.push(of_key);
                encoded.rows.push(Row { index, bytes: start..encoded.bytes.len() });
                encoded.deletes |= delete;
                if !is_plain {
                    encoded.not_plain.insert(index);
                }
            }
            Err(error) => {
                encoded.bytes.truncate(start);
                encoded.faults.push(fault(index, error));
            }
        }
    }
    if keyed {
        let of = |row: usize| &keys[keys_at[row].clone()];
        let same = encoded.sort(of);
        for [one, other] in same {
            encoded.faults.extend(key::is_one_row(table, wanted, records, one, other));
        }
    } else {
        encoded.turns.push(0..encoded.rows.len());
    }
    encoded
}

/// Returns the number of the group that leaves the same columns to their default.
fn group(groups: &mut Vec<Vec<bool>>, columns: &[Column], slots: &[Option<Value<'_>>]) -> i32 {
    let same = |group: &&Vec<bool>| {
        columns
            .iter()
            .zip(slots)
            .zip(group.iter())
            .all(|((c, s), left)| (c.has_default && s.is_none()) == *left)
    };
    let found = groups.iter().position(|group| same(&group));
    let number = found.unwrap_or_else(|| {
        groups.push(columns.iter().zip(slots).map(|(c, s)| c.has_default && s.is_none()).collect());
        groups.len() - 1
    });
    i32::try_from(number).expect("fewer groups than records of a batch")
}

/// How a staging table is made and what becomes of it.
pub(super) struct Staging {
    /// Its name, quoted.
    pub(super) name: String,
    /// Whether the transaction will be prepared: then nothing temporary may be used in it.
    pub(super) for_prepare: bool,
}

/// Where a batch goes.
pub(super) struct Target<'t> {
    pub(super) table: &'t Table,
    pub(super) wanted: &'t Wanted,
    /// The table, quoted, with its schema.
    pub(super) quoted: &'t str,
    pub(super) staging: Staging,
    /// What is remembered of keys; `None` where nothing can be.
    pub(super) keys: Option<Keys>,
}

impl Target<'_> {
    /// Puts and deletes all rows of `records`; returns the faults of those that the server does not take. After faults the
    /// transaction must not be committed.
    pub(super) async fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        encoded: &Encoded,
        records: &[Delivery],
    ) -> Result<Vec<RecordFault>, Failure> {
        let mut faults = Vec::new();
        // Parts yet to be tried; the last first.
        let mut parts: Vec<Range<usize>> = encoded.turns.iter().rev().cloned().collect();
        while let Some(part) = parts.pop() {
            if faults.len() >= FAULTS_MAX {
                break;
            }
            let savepoint = transaction.savepoint("cairn_part").await?;
            match self.apply_rows(&savepoint, encoded, &encoded.rows[part.clone()], records).await {
                Ok(found) if found.is_empty() => savepoint.commit().await?,
                Ok(found) => {
                    faults.extend(found);
                    savepoint.rollback().await?;
                }
                Err(error) => {
                    let Some(cause) = of_records(&error) else { return Err(error.into()) };
                    if let [row] = &encoded.rows[part.clone()] {
                        faults.push(fault(row.index, sentence(cause)));
                    } else {
                        let middle = part.start.midpoint(part.end);
                        parts.push(middle..part.end);
                        parts.push(part.start..middle);
                    }
                    savepoint.rollback().await?;
                }
            }
        }
        Ok(faults)
    }

    async fn apply_rows(
        &self,
        transaction: &Transaction<'_>,
        encoded: &Encoded,
        rows: &[Row],
        records: &[Delivery],
    ) -> Result<Vec<RecordFault>, tokio_postgres::Error> {
        let stage = &self.staging.name;
        let columns = &self.table.columns;
        let staged: Vec<String> =
            columns.iter().enumerate().map(|(n, column)| format!("c{n} {}", column.kind.staged())).collect();
        let (kind, end) =
            if self.staging.for_prepare { ("UNLOGGED", "") } else { ("TEMP", " ON COMMIT DROP") };
        let fields = staged.join(", ");
        transaction.batch_execute(&format!("CREATE {kind} TABLE {stage} (g int4, {fields}){end}")).await?;
        let staged = rows.iter().map(|row| &encoded.bytes[row.bytes.clone()]);
        let statement = format!("COPY {stage} FROM STDIN (FORMAT binary)");
        copy_in(transaction, &statement, staged, |row, to| to.put_slice(row)).await?;
        if self.wanted.mode != SinkMode::Append
            && let Some(asked) = Asked::of(self.table, self.wanted, self.quoted, stage)
        {
            let faults = asked.faults(transaction, self.wanted, records, |row| rows[row].index).await?;
            if !faults.is_empty() {
                return Ok(faults);
            }
        }
        if let Some(keys) = &self.keys
            && (keys.known.any || !encoded.not_plain.is_empty())
        {
            let of_rows = rows.iter().map(|row| (row.index, !encoded.not_plain.contains(&row.index)));
            let faults = keys.faults(transaction, self, records, of_rows).await?;
            if !faults.is_empty() {
                return Ok(faults);
            }
        }
        let mut statements: Vec<String> = Vec::new();
        for (number, group) in encoded.groups.iter().enumerate() {
            let condition = if encoded.groups.len() > 1 || encoded.deletes {
                format!(" WHERE g = {number}")
            } else {
                String::new()
            };
            statements.push(self.put(group, &condition));
        }
        if encoded.deletes {
            statements.push(self.delete());
        }
        // What is checked at the end of the transaction otherwise: here it is known which records are at fault.
        statements.push("SET CONSTRAINTS ALL IMMEDIATE".to_owned());
        statements.push(format!("DROP TABLE {stage}"));
        transaction.batch_execute(&statements.join(";\n")).await?;
        Ok(Vec::new())
    }

    /// Returns the statement that puts the rows of one group.
    fn put(&self, left_out: &[bool], condition: &str) -> String {
        let columns = &self.table.columns;
        let staged = columns.iter().enumerate().filter(|(n, _)| !left_out[*n]);
        let (names, values): (Vec<String>, Vec<String>) =
            staged.map(|(n, column)| (column.name.clone(), staged_value("s.", n, column))).unzip();
        // A row of nothing but defaults names no columns.
        let columns_named = if names.is_empty() { String::new() } else { format!(" ({})", list("", &names)) };
        let insert = format!(
            "INSERT INTO {} AS t{columns_named} SELECT {} FROM {} AS s{condition}",
            self.quoted,
            values.join(", "),
            self.staging.name,
        );
        let key = self.wanted.key_names();
        let others: Vec<&Column> =
            columns.iter().filter(|c| names.contains(&c.name) && !key.contains(&c.name)).collect();
        match self.wanted.mode {
            SinkMode::Append => insert,
            SinkMode::Upsert if !others.is_empty() => {
                let sets: Vec<String> =
                    others.iter().map(|c| format!("{0} = EXCLUDED.{0}", quoted(&c.name))).collect();
                let differs: Vec<String> = others.iter().map(|c| differs(c)).collect();
                let guard = self
                    .version()
                    .map(|(_, column)| {
                        let name = quoted(&column.name);
                        let (new, old) = (format!("EXCLUDED.{name}"), format!("t.{name}"));
                        format!(" AND {}", not_older(column, &new, &old))
                    })
                    .unwrap_or_default();
                format!(
                    "{insert} ON CONFLICT ({}) DO UPDATE SET {} WHERE ({}){guard}",
                    list("", &key),
                    sets.join(", "),
                    differs.join(" OR "),
                )
            }
            SinkMode::Insert | SinkMode::Upsert => {
                format!("{insert} ON CONFLICT ({}) DO NOTHING", list("", &key))
            }
        }
    }

    /// Returns the statement that deletes the keys of tombstones, unless what is there is newer.
    fn delete(&self) -> String {
        let mut conditions = vec![format!("s.g = {DELETE}")];
        for name in self.wanted.key_names() {
            if let Some(position) = self.table.position(&name) {
                let value = staged_value("s.", position, &self.table.columns[position]);
                conditions.push(format!("t.{} = {value}", quoted(&name)));
            }
        }
        if let Some((position, column)) = self.version() {
            let old = format!("t.{}", quoted(&column.name));
            conditions.push(not_older(column, &staged_value("s.", position, column), &old));
        }
        let stage = &self.staging.name;
        format!("DELETE FROM {} AS t USING {stage} AS s WHERE {}", self.quoted, conditions.join(" AND "))
    }

    fn version(&self) -> Option<(usize, &Column)> {
        let position = self.table.position(&self.wanted.version.as_ref()?.to_string())?;
        Some((position, &self.table.columns[position]))
    }
}

/// Returns the expression for a staged value in the column's type and collation; `of` stands before its name.
pub(super) fn staged_value(of: &str, position: usize, column: &Column) -> String {
    let mut value = format!("{of}c{position}");
    // A `char(n)` is compared as text, blanks and all, with what is no `char`.
    if column.kind.is_cast() || column.compares == Compares::WithoutBlanks {
        value = format!("CAST({value} AS {})", column.declared);
    }
    if let Compares::ByServer { collation: Some(collation), .. } = &column.compares {
        value = format!("{value} COLLATE {collation}");
    }
    value
}

/// Returns the condition that a row's new value is another one. Types without equality are compared as text.
fn differs(column: &Column) -> String {
    let cast = if matches!(column.kind, Kind::Json | Kind::Other) { "::text" } else { "" };
    let name = quoted(&column.name);
    format!("t.{name}{cast} IS DISTINCT FROM EXCLUDED.{name}{cast}")
}

/// Returns the condition that version `new` may take the place of `old`, by the engine's order: texts that are times as
/// instants, others by their bytes, whatever the database's collation. What a column of texts holds does not tell whether
/// `9` was a number, nor is every form of a time known here, and numbers come before times, those before other texts: where one reading lets the record pass, it does, since the
/// engine has decided already. This is for what others wrote.
fn not_older(column: &Column, new: &str, old: &str) -> String {
    // What the server takes for a time: of a day that there is, within its day and offsets.
    const TIME: &str = "'^((\\d\\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29|(?!0000)\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8])))\
        ([Tt ]([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d(\\.\\d{1,50})?)?([Zz]|[+-](0\\d|1[0-4])(:?[0-5]\\d)?)?)?$'";
    const NUMBER: &str = r"'^-?\d+(\.\d+)?([eE][+-]?\d{1,3})?$'";
    const DATE: &str = r"'^\d{4}-\d\d-\d\d'";
    let both = |form: &str| format!("{new} ~ {form} AND {old} ~ {form}");
    let newer = match column.kind {
        Kind::Text(_) => format!(
            "CASE WHEN {} THEN {new}::timestamptz >= {old}::timestamptz \
             WHEN {} THEN {new}::numeric >= {old}::numeric OR {new} COLLATE \"C\" >= {old} COLLATE \"C\" \
             OR {new} ~* 'e' AND {old} !~* 'e' \
             ELSE {} OR {old} ~ {NUMBER} AND {new} !~ {NUMBER} OR {old} ~ {DATE} AND {new} !~ {NUMBER} \
             OR {new} COLLATE \"C\" >= {old} COLLATE \"C\" END",
            both(TIME),
            both(NUMBER),
            both(DATE),
        ),
        Kind::Json => format!("{new}::text >= {old}::text"),
        _ => format!("{new} >= {old}"),
    };
    format!("({old} IS NULL OR {newer})")
}
