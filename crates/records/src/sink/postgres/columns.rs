//! A PostgreSQL table's columns, as the catalog has them.

use tokio_postgres::Transaction;

use super::encode::Kind;
use super::error::Failure;
use crate::sink::record::Value;

/// A table that is there.
#[derive(Debug)]
pub(super) struct Table {
    /// Those that can be written.
    pub(super) columns: Vec<Column>,
    /// Whether `COPY` does what `INSERT` does: it knows neither rules nor row security, and takes no view.
    pub(super) takes_copy: bool,
    /// What would be read otherwise if the table were altered.
    pub(super) shape: String,
    /// The columns of each unique index that `ON CONFLICT` can use.
    unique: Vec<Vec<String>>,
}

/// One column that can be written.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// With its modifier, as PostgreSQL writes it: `character varying(3)`.
    pub(super) declared: String,
    not_null: bool,
    /// Whether the server fills it in when a statement does not name it.
    pub(super) has_default: bool,
    /// How it compares what stands in it.
    pub(super) compares: Compares,
}

/// How a column of a key compares its values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compares {
    /// Two that are sent with other bytes are two.
    Bytes,
    /// As `char(n)`: without the blanks at the end.
    WithoutBlanks,
    /// By rules that only the server knows: `citext`, a collation that makes equals of several texts (named here, quoted),
    /// types that are sent as text.
    ByServer {
        collation: Option<String>,
        /// Whether what stands in the table is the text that was sent.
        keeps_text: bool,
    },
}

impl Table {
    /// Reads what is known of `table`, quoted; `None` when there is none.
    pub(super) async fn read(transaction: &Transaction<'_>, table: &str) -> Result<Option<Self>, Failure> {
        let rows = transaction
            .query(
                "SELECT a.attname::text, t.typname::text, a.atttypmod, format_type(a.atttypid, a.atttypmod),
                        a.attnotnull, a.atthasdef OR a.attidentity = 'd', a.attgenerated <> '' OR a.attidentity = 'a',
                        t.typtype = 'e',
                        CASE WHEN NOT c.collisdeterministic THEN quote_ident(n.nspname) || '.' || quote_ident(c.collname) END
                 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                   LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = c.collnamespace
                 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                &[&table],
            )
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = rows
            .iter()
            .filter(|row| !row.get::<_, bool>(6))
            .map(|row| {
                let kind = Kind::of(row.get(1), row.get(2));
                Column {
                    name: row.get(0),
                    kind,
                    declared: row.get(3),
                    not_null: row.get(4),
                    has_default: row.get(5),
                    compares: Compares::of(row.get(1), kind, row.get(7), row.get(8)),
                }
            })
            .collect();
        let indexes = transaction
            .query(
                "SELECT array(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k
                              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k)
                 FROM pg_index i
                 WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indisvalid
                   AND i.indpred IS NULL AND i.indexprs IS NULL",
                &[&table],
            )
            .await?;
        let (takes_copy, shape) = shape(transaction, table).await?.unwrap_or_default();
        Ok(Some(Self { columns, takes_copy, shape, unique: indexes.iter().map(|row| row.get(0)).collect() }))
    }

    /// Returns whether no two rows can have the same values in `key`.
    pub(super) fn is_unique(&self, key: &[String]) -> bool {
        self.unique
            .iter()
            .any(|index| index.len() == key.len() && key.iter().all(|name| index.contains(name)))
    }

    /// Returns where the column `name` stands.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// Returns whether a table takes a copy, and all that says how the bytes of one are read: columns and types.
pub(super) async fn shape(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<Option<(bool, String)>, tokio_postgres::Error> {
    let row = transaction
        .query_opt(
            "SELECT c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT c.relrowsecurity,
                    c.oid || string_agg(format(',%I %s %s', a.attname, a.atttypid, a.atttypmod), '' ORDER BY a.attnum)
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.oid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.oid",
            &[&table],
        )
        .await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

impl Compares {
    fn of(type_name: &str, kind: Kind, is_enum: bool, collation: Option<String>) -> Self {
        match (type_name, kind) {
            ("citext", _) => Self::ByServer { collation: None, keeps_text: true },
            ("bpchar", _) if collation.is_none() => Self::WithoutBlanks,
            (_, Kind::Text(_)) if collation.is_some() => Self::ByServer { collation, keeps_text: true },
            (_, Kind::Other) if !is_enum => Self::ByServer { collation, keeps_text: false },
            _ => Self::Bytes,
        }
    }
}

impl Column {
    /// Appends `value` in binary, or says what is wrong with it. `required`: null would not do, whatever the table says.
    pub(super) fn encode(&self, value: &Value<'_>, required: bool, to: &mut Vec<u8>) -> Result<(), String> {
        if *value == Value::Null && required {
            return Err(format!("the key field `{}` is missing or null", self.name));
        }
        if *value == Value::Null && self.not_null {
            return Err(format!("column `{}` takes no null, and the record has no value for it", self.name));
        }
        self.kind.encode(value, to).ok_or_else(|| {
            let (name, declared) = (&self.name, &self.declared);
            format!("column `{name}` of type {declared} does not take {} {}", value.kind(), value.shown())
        })
    }
}
