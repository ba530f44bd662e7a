//! What is remembered of keys that are not written as they are stored, and of the forms in which keys come.

use rusqlite::{Connection, OptionalExtension as _};

use super::columns::Column;
use super::encode::Row;
use crate::sink::spelling::{EMPTY, FORM, Known, Verdict, stored};
use crate::sink::table::{Wanted, quoted};

/// The keys of one load, in a transaction.
pub(super) struct Keys<'k> {
    connection: &'k Connection,
    scope: String,
    known: Known,
    /// Asks which key stands in a row.
    find: String,
}

impl<'k> Keys<'k> {
    /// `first`: nothing of the load is in the table yet.
    pub(super) fn of(
        connection: &'k Connection,
        scope: String,
        wanted: &Wanted,
        first: bool,
    ) -> Result<Self, rusqlite::Error> {
        let table = quoted(&wanted.table);
        if first {
            connection
                .prepare_cached(&format!(
                    "INSERT OR IGNORE INTO cairn_keys (scope, stored, key) SELECT ?1, ?2, ''
                     WHERE NOT EXISTS (SELECT 1 FROM {table})"
                ))?
                .execute((&scope, EMPTY))?;
        }
        let (empty, any) = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM cairn_keys WHERE scope = ?1 AND stored = ?2),
                        EXISTS (SELECT 1 FROM cairn_keys WHERE scope = ?1 AND stored >= 'key ' AND stored < 'key!')",
            )?
            .query_row((&scope, EMPTY), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let names: Vec<String> = wanted.key_names().iter().map(|name| quoted(name)).collect();
        let shown: Vec<String> = names.iter().map(|name| format!("CAST({name} AS TEXT)")).collect();
        let same: Vec<String> = names.iter().map(|name| format!("{name} = ?")).collect();
        let find = format!("SELECT {} FROM {table} WHERE {}", shown.join(" || ', ' || "), same.join(" AND "));
        Ok(Self { connection, scope, known: Known { empty, any }, find })
    }

    /// Returns whether anything is to be asked of a row.
    pub(super) fn concern(&self, row: &Row<'_>) -> bool {
        !row.is_plain || self.known.any
    }

    /// Says why a row, of which `key` is the key in JSON, would be that of another key; else remembers whose it is.
    pub(super) fn check(
        &mut self,
        columns: &[Column],
        positions: &[usize],
        row: &Row<'_>,
        key: &str,
    ) -> Result<Option<String>, rusqlite::Error> {
        let values: Vec<Vec<u8>> = positions.iter().map(|at| columns[*at].stands(row.value(*at).0)).collect();
        let stored = stored(values.iter().map(Vec::as_slice));
        let owner: Option<String> = self
            .connection
            .prepare_cached("SELECT key FROM cairn_keys WHERE scope = ?1 AND stored = ?2")?
            .query_row((&self.scope, &stored), |row| row.get(0))
            .optional()?;
        let of_key = rusqlite::params_from_iter(positions.iter().map(|at| row.value(*at)));
        let stands: Option<String> =
            self.connection.prepare_cached(&self.find)?.query_row(of_key, |row| row.get(0)).optional()?;
        match self.known.decide(key, row.is_plain, !row.delete, owner.as_deref(), stands.as_deref()) {
            Verdict::Goes => {}
            Verdict::Claims => {
                self.connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO cairn_keys (scope, stored, key) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((&self.scope, &stored, key))?;
                self.known.any = true;
            }
            Verdict::Releases => {
                self.connection
                    .prepare_cached("DELETE FROM cairn_keys WHERE scope = ?1 AND stored = ?2")?
                    .execute((&self.scope, &stored))?;
            }
            Verdict::Other(error) => return Ok(Some(error)),
        }
        Ok(None)
    }
}

/// Returns the remembered forms, by column.
pub(super) fn forms(connection: &Connection, scope: &str) -> Result<Vec<(String, String)>, rusqlite::Error> {
    let mut find = connection.prepare_cached(
        "SELECT stored, key FROM cairn_keys WHERE scope = ?1 AND stored >= 'form ' AND stored < 'form!'",
    )?;
    let found = find.query_map([scope], |row| {
        let stored: String = row.get(0)?;
        Ok((stored[FORM.len()..].to_owned(), row.get(1)?))
    })?;
    found.collect()
}

/// Remembers the form of a column's keys.
pub(super) fn remember_form(
    connection: &Connection,
    scope: &str,
    column: &str,
    form: &str,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO cairn_keys (scope, stored, key) VALUES (?1, ?2, ?3)")?
        .execute((scope, format!("{FORM}{column}"), form))
        .map(drop)
}
