//! Two SQLite databases compared by what is in them: their bytes differ whenever one was written to, also when every row
//! is as before.
//!
//! Compared are the definitions of tables, indices, views and triggers, and the rows of each table as a multiset: neither
//! their order nor their row ids count. Virtual tables are not read, for that takes the module that made them; the tables
//! that they keep their content in are.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use crate::rehearsal::RecordApart;

/// What every SQLite database begins with (<https://www.sqlite.org/fileformat2.html>, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What SQLite puts beside a database, named by what is added to its name: parts of it until the next one who opens it.
pub const COMPANIONS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// How two databases first differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseDifference {
    /// A table, index, view or trigger is defined otherwise, or is only in one of them.
    Definition {
        /// What: `table orders`.
        what: String,
    },
    /// A table has another number of rows.
    Count {
        /// The table.
        table: String,
        /// Rows in the first.
        before: u64,
        /// Rows in the second.
        after: u64,
    },
    /// A table has as many rows, and others.
    Row {
        /// The table.
        table: String,
        /// A row, as SQL literals, of which the first has more.
        before: String,
        /// A row of which the second has more.
        after: String,
    },
}

impl fmt::Display for DatabaseDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition { what } => write!(f, "the {what} is another"),
            Self::Count { table, before, after } => {
                write!(f, "the table `{table}` had {} and has {after}", rows(*before))
            }
            Self::Row { table, .. } => write!(f, "the table `{table}` has other rows"),
        }
    }
}

fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

/// Why databases cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the database `{}`: {cause}", path.display())]
pub struct DatabaseError {
    /// The first of the two.
    pub path: PathBuf,
    /// What SQLite said.
    #[source]
    pub cause: rusqlite::Error,
}

/// Returns whether the file at `path` is an SQLite database; one without any content is an empty file, and none.
pub fn is_database(path: &Path) -> io::Result<bool> {
    let mut start = [0; MAGIC.len()];
    match File::open(path)?.read_exact(&mut start) {
        Ok(()) => Ok(start == *MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Compares the databases at two paths. They are opened for writing: one that was cut off is rolled back first, as anyone
/// who opens it does. So these are to be copies.
pub fn first_difference(before: &Path, after: &Path) -> Result<Option<DatabaseDifference>, DatabaseError> {
    compare(before, after, &[]).map_err(|cause| DatabaseError { path: before.to_owned(), cause })
}

/// The same, but for what cairn keeps in a database beside the tables that it writes to: it tells of each delivery.
pub fn first_difference_but_ledgers(
    before: &Path,
    after: &Path,
) -> Result<Option<DatabaseDifference>, DatabaseError> {
    let ledgers = ["cairn_ledger", "cairn_fence", "cairn_keys"];
    compare(before, after, &ledgers).map_err(|cause| DatabaseError { path: before.to_owned(), cause })
}

/// Returns a row of `table` that has the same `key` columns in both databases and differs in another one.
pub fn first_row_apart(
    before: &Path,
    after: &Path,
    table: &str,
    key: &[String],
) -> Result<Option<RecordApart>, DatabaseError> {
    row_apart(before, after, table, key).map_err(|cause| DatabaseError { path: before.to_owned(), cause })
}

/// Removes all rows of `table` in the copy of a database; one that is not there has none.
pub fn clear(path: &Path, table: &str) -> Result<(), DatabaseError> {
    let clear = || -> rusqlite::Result<()> {
        let connection = Connection::open(path)?;
        let there = connection
            .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE")?
            .exists([table])?;
        if there {
            connection.execute(&format!("DELETE FROM {}", identifier(table)), [])?;
        }
        Ok(())
    };
    clear().map_err(|cause| DatabaseError { path: path.to_owned(), cause })
}

fn row_apart(
    before: &Path,
    after: &Path,
    table: &str,
    key: &[String],
) -> rusqlite::Result<Option<RecordApart>> {
    let connection = Connection::open(before)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.execute("ATTACH DATABASE ?1 AS other", [after.to_string_lossy()])?;
    let name = identifier(table);
    let on: Vec<String> = key.iter().map(|column| format!("a.{0} IS b.{0}", identifier(column))).collect();
    let shown: Vec<String> =
        key.iter().map(|column| format!("CAST(a.{} AS TEXT)", identifier(column))).collect();
    if key.is_empty() {
        return Ok(None);
    }
    for column in columns(&connection, table)? {
        let column_name = identifier(&column);
        let sql = format!(
            "SELECT {}, quote(a.{column_name}), quote(b.{column_name}) FROM main.{name} a JOIN other.{name} b ON {}
             WHERE quote(a.{column_name}) <> quote(b.{column_name}) LIMIT 1",
            shown.join(" || ', ' || "),
            on.join(" AND "),
        );
        let found = connection
            .query_row(&sql, [], |row| {
                let key: Option<String> = row.get(0)?;
                let (before, after) = (row.get(1)?, row.get(2)?);
                Ok(RecordApart { key: key.unwrap_or_default(), field: Some(column.clone()), before, after })
            })
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1, 'main')")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn compare(before: &Path, after: &Path, but: &[&str]) -> rusqlite::Result<Option<DatabaseDifference>> {
    let connection = Connection::open(before)?;
    // Views and triggers of a stranger's database run no functions of ours.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.execute("ATTACH DATABASE ?1 AS other", [after.to_string_lossy()])?;
    let (mut ours, mut theirs) = (definitions(&connection, "main")?, definitions(&connection, "other")?);
    for table in but {
        ours.remove(&format!("table {table}"));
        theirs.remove(&format!("table {table}"));
    }
    let names = ours.keys().chain(theirs.keys());
    if let Some(what) = names.into_iter().find(|name| ours.get(*name) != theirs.get(*name)) {
        return Ok(Some(DatabaseDifference::Definition { what: what.clone() }));
    }
    for (what, sql) in &ours {
        let Some(table) = what.strip_prefix("table ") else { continue };
        if sql.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("create virtual")) {
            continue;
        }
        if let Some(difference) = compare_table(&connection, table)? {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

/// Returns what a database defines, by kind and name; what SQLite makes for itself is left out.
fn definitions(connection: &Connection, schema: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(&format!(
        "SELECT type || ' ' || name, coalesce(sql, '') FROM {schema}.sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ))?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.collect()
}

fn compare_table(connection: &Connection, table: &str) -> rusqlite::Result<Option<DatabaseDifference>> {
    let name = identifier(table);
    let count = |schema: &str| -> rusqlite::Result<u64> {
        let count: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {schema}.{name}"), [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    let (before, after) = (count("main")?, count("other")?);
    if before != after {
        return Ok(Some(DatabaseDifference::Count { table: table.to_owned(), before, after }));
    }
    let literals: Vec<String> =
        columns(connection, table)?.iter().map(|column| format!("quote({})", identifier(column))).collect();
    let row = literals.join(" || ', ' || ");
    // Literals, so that neither a collation nor a type makes two values one; counted, so that repeats matter.
    let counted = |schema: &str| format!("SELECT {row} AS row, count(*) FROM {schema}.{name} GROUP BY 1");
    let more = |left: &str, right: &str| -> rusqlite::Result<Option<String>> {
        let sql = format!("SELECT row FROM ({} EXCEPT {}) LIMIT 1", counted(left), counted(right));
        connection.query_row(&sql, [], |row| row.get(0)).optional()
    };
    let Some(before) = more("main", "other")? else { return Ok(None) };
    let after = more("other", "main")?.unwrap_or_default();
    Ok(Some(DatabaseDifference::Row { table: table.to_owned(), before, after }))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use super::*;

    fn differ(before: &str, after: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, sql: &str| {
            let path = folder.path().join(name);
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            assert!(is_database(&path).unwrap());
            path
        };
        let found = first_difference(&make("before", before), &make("after", after)).unwrap();
        found.map(|difference| difference.to_string())
    }

    #[test]
    fn rows_count_and_neither_their_order_nor_how_they_came_there() {
        let table = "CREATE TABLE \"a \"\"b\" (k, v COLLATE NOCASE);";
        let with = |rows: &str| format!("{table} INSERT INTO \"a \"\"b\" VALUES {rows};");
        let one = with("(1, 'x'), (2, NULL)");
        assert_eq!(differ(&one, &with("(2, NULL), (3, 'y'), (1, 'x')")).unwrap().matches("rows").count(), 1);
        let rewritten = with("(2, NULL), (7, 7), (1, 'x')") + "DELETE FROM \"a \"\"b\" WHERE k = 7;";
        assert_eq!(differ(&one, &rewritten), None);
        for other in
            ["(1, 'X'), (2, NULL)", "(1.0, 'x'), (2, NULL)", "(1, 'x'), (2, '')", "(1, 'x'), (1, 'x')"]
        {
            let found = differ(&one, &with(other));
            assert_eq!(found.as_deref(), Some("the table `a \"b` has other rows"), "{other}");
        }
    }

    #[test]
    fn rows_that_were_doubled_are_counted() {
        let make = |times: usize| {
            format!("CREATE TABLE t (v); {}", "INSERT INTO t VALUES (1), (2), (3);".repeat(times))
        };
        assert_eq!(differ(&make(1), &make(2)).unwrap(), "the table `t` had 3 rows and has 6");
    }

    #[test]
    fn a_row_of_the_same_key_is_named_with_its_column() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, sql: &str| {
            let path = folder.path().join(name);
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            path
        };
        let table = "CREATE TABLE t (k, l, v); CREATE TABLE cairn_ledger (x);";
        let one = make("one", &format!("{table} INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', NULL);"));
        let two = make(
            "two",
            &format!(
                "{table} INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 7); INSERT INTO cairn_ledger VALUES (1);"
            ),
        );
        let key = ["k".to_owned(), "l".to_owned()];
        let apart = first_row_apart(&one, &two, "t", &key).unwrap().unwrap();
        assert_eq!((apart.key.as_str(), apart.field.as_deref()), ("2, a", Some("v")));
        assert_eq!((apart.before.as_str(), apart.after.as_str()), ("NULL", "7"));
        assert!(first_difference_but_ledgers(&one, &two).unwrap().is_some());
        for path in [&one, &two] {
            clear(path, "T").unwrap();
            clear(path, "none").unwrap();
        }
        assert_eq!(first_difference_but_ledgers(&one, &two).unwrap(), None);
        assert!(first_difference(&one, &two).unwrap().is_some());
    }

    #[test]
    fn definitions_count() {
        let found = differ("CREATE TABLE t (v);", "CREATE TABLE t (v); CREATE INDEX i ON t (v);");
        assert_eq!(found.as_deref(), Some("the index i is another"));
        assert_eq!(
            differ("CREATE VIRTUAL TABLE f USING fts5(x);", "CREATE VIRTUAL TABLE f USING fts5(x);"),
            None
        );
    }

    #[test]
    fn what_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("empty", &b""[..]), ("text", b"SQLite format 3 is what this speaks of")] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            assert!(!is_database(&folder.path().join(name)).unwrap());
        }
    }
}
