//! The statements that write rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cairn_model::SinkMode;
use rusqlite::{Connection, Statement};

use super::columns::Column;
use super::encode::{self, Row};
use crate::sink::table::{Wanted, list, quoted};

/// The statements of one batch: nearly always one, more where records lack fields whose columns have defaults.
pub(super) struct Statements<'s> {
    connection: &'s Connection,
    wanted: &'s Wanted,
    columns: &'s [Column],
    puts: HashMap<encode::Columns, Statement<'s>>,
    delete: Option<Statement<'s>>,
}

impl<'s> Statements<'s> {
    pub(super) fn new(connection: &'s Connection, wanted: &'s Wanted, columns: &'s [Column]) -> Self {
        Self { connection, wanted, columns, puts: HashMap::new(), delete: None }
    }

    /// Puts or deletes one row.
    pub(super) fn write(&mut self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        if row.delete {
            return self.delete(row);
        }
        let statement = match self.puts.entry(row.defaults.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let named: Vec<&Column> = self
                    .columns
                    .iter()
                    .enumerate()
                    .filter(|(position, _)| !row.defaults.has(*position))
                    .map(|(_, column)| column)
                    .collect();
                new.insert(self.connection.prepare(&put(self.wanted, &named))?)
            }
        };
        let named = (0..self.columns.len()).filter(|column| !row.defaults.has(*column));
        for (place, column) in named.enumerate() {
            statement.raw_bind_parameter(place + 1, row.value(column))?;
        }
        statement.raw_execute().map(drop)
    }

    fn delete(&mut self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        let wanted = self.wanted;
        let statement = match &mut self.delete {
            Some(statement) => statement,
            none => none.insert(self.connection.prepare(&delete(wanted))?),
        };
        let key = positions(self.columns, &wanted.key_names());
        let guard = wanted.version.iter().flat_map(|path| positions(self.columns, &[path.to_string()]));
        for (place, position) in key.into_iter().chain(guard).enumerate() {
            statement.raw_bind_parameter(place + 1, row.value(position))?;
        }
        statement.raw_execute().map(drop)
    }
}

/// Returns the statement that puts one row with values for the columns `named`.
fn put(wanted: &Wanted, columns: &[&Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let table = quoted(&wanted.table);
    let marks = vec!["?"; names.len()].join(", ");
    let insert = if names.is_empty() {
        format!("INSERT INTO {table} DEFAULT VALUES")
    } else {
        format!("INSERT INTO {table} ({}) VALUES ({marks})", list("", &names))
    };
    let key = wanted.key_names();
    let others: Vec<&String> = names.iter().filter(|name| !key.contains(name)).collect();
    if wanted.mode == SinkMode::Append {
        return insert;
    }
    if wanted.mode == SinkMode::Insert || others.is_empty() {
        return format!("{insert} ON CONFLICT ({}) DO NOTHING", list("", &key));
    }
    let sets: Vec<String> = others.iter().map(|name| format!("{0} = excluded.{0}", quoted(name))).collect();
    let old = format!("{table}.");
    let differs: Vec<String> =
        others.iter().map(|name| format!("excluded.{0} IS NOT {old}{0}", quoted(name))).collect();
    let mut condition = format!("({})", differs.join(" OR "));
    if let Some(version) = &wanted.version {
        let version = quoted(&version.to_string());
        condition = format!("{condition} AND cairn_not_older(excluded.{version}, {old}{version})");
    }
    let key = list("", &key);
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {} WHERE {condition}", sets.join(", "))
}

/// Returns the statement that deletes the rows of one key, unless they are newer than the tombstone.
fn delete(wanted: &Wanted) -> String {
    let mut conditions: Vec<String> =
        wanted.key_names().iter().map(|name| format!("{} = ?", quoted(name))).collect();
    if let Some(version) = &wanted.version {
        conditions.push(format!("cairn_not_older(?, {})", quoted(&version.to_string())));
    }
    format!("DELETE FROM {} WHERE {}", quoted(&wanted.table), conditions.join(" AND "))
}

/// Returns where the columns `names` stand; each is there, the sink saw to it.
pub(super) fn positions(columns: &[Column], names: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect()
}
