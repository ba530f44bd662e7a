//! A table of a PostgreSQL server.
//!
//! One transaction a batch: the fence's row is locked, the ledger asked (a batch that is there is not applied again), the
//! batch copied in binary into a staging table, and put from there by one `INSERT … ON CONFLICT`. What was never delivered
//! before is copied right into the table, where all columns can be sent in binary (`direct.rs`). `cairn_fence`,
//! `cairn_ledger` and `cairn_keys` stand in the table's schema.
//!
//! | the table | its columns |
//! |---|---|
//! | is not there | the declared ones, else the fields of the first batch with types from its JSON; the key is the primary key |
//! | is there | stay; `upsert` and `insert` need a unique index over the key |
//!
//! A field that a record lacks is NULL; where the column has a default, the row gets that, and an upsert leaves what is
//! there. Numbers without bounds become `numeric`, arrays and objects `jsonb`. A time without an offset is UTC's. A column
//! of a nested key has the path's name, `customer.id`. Names are taken as they are written, capitals too.
//! A batch of nothing but tombstones makes no table. `append` makes no use of versions; deleting from it removes all rows of the key.
//!
//! An upsert writes only rows that differ, and never an older version over a newer one: a second delivery of the same
//! records leaves each row's `xmin` as it is.
//!
//! With `commit = "two-phase"` the same transaction is prepared under the name `cairn:SCOPE/TABLE@DATABASE:NUMBER` (names
//! are shared by all databases of a server), and committed or rolled back later, by whichever process; it holds its locks
//! until then.

mod ahead;
mod batch;
mod columns;
mod connect;
mod direct;
mod encode;
mod error;
mod key;
mod two_phase;

use std::cell::Cell;
use std::sync::Arc;

use cairn_model::{Digest, SinkMode};
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Transaction};

use self::ahead::{Encoder, Load};
use self::batch::{Staging, Target};
use self::columns::Table;
use self::connect::Server;
use self::direct::Copied;
use self::error::{Failure, of_schema};
use self::key::Keys;
use self::two_phase::{literal, staging_name};
use super::fingerprint::Rows;
use super::table::{Kind, LEDGER_KEEPS, Wanted, list, puts, quoted};
use super::{BatchId, Delivered, Delivery, Encode, Sink, SinkError};

/// Columns that a table may have: <https://www.postgresql.org/docs/current/limits.html>.
const COLUMNS_MAX: usize = 1600;

/// Columns that each table has: <https://www.postgresql.org/docs/current/ddl-system-columns.html>.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The sink. All its waiting is done on a runtime of its own, by the calling thread.
pub(super) struct Postgres {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    session: Session,
}

impl Postgres {
    /// Connects to the server at `address`, a URL or `key=value` words.
    pub(super) fn open(address: &str, wanted: Wanted) -> Result<Self, SinkError> {
        let unnamed = format!("postgres table `{}`", wanted.table);
        wanted.check(&unnamed)?;
        let server = Server::parse(address, &unnamed)?;
        let (schema, table) = match wanted.table.split_once('.') {
            Some((schema, table)) => (format!("{}.", quoted(schema)), table),
            None => (String::new(), wanted.table.as_str()),
        };
        let session = Session {
            name: format!("{unnamed} at {}", server.place()),
            quoted: format!("{schema}{}", quoted(table)),
            ledger: format!("{schema}\"cairn_ledger\""),
            fence: format!("{schema}\"cairn_fence\""),
            keys: format!("{schema}\"{}\"", super::spelling::TABLE),
            schema,
            server,
            wanted: Arc::new(wanted),
            client: None,
            database: String::new(),
            table: None,
            has_ledger: false,
            has_keys: None,
            fenced: None,
            met_rows: Cell::new(false),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                SinkError::Unavailable {
                    sink: session.name.clone(),
                    error: error.to_string(),
                    retry_after_ms: None,
                }
            })?;
        let mut sink = Self { runtime: Some(runtime), session };
        sink.run(async |session| session.client().await.map(drop))?;
        Ok(sink)
    }

    /// Runs one operation to its end.
    fn run<T>(
        &mut self,
        operation: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        let runtime = self.runtime.as_ref().expect("it is there until the sink is dropped");
        let done = runtime.block_on(operation(&mut self.session));
        done.map_err(|failure| {
            let is_of_sql = matches!(failure, Failure::Sql(_));
            let error = failure.into_sink_error(&self.session.name);
            if is_of_sql || matches!(error, SinkError::Unavailable { .. }) {
                // What state the connection is in is not known.
                self.session.disconnect();
            }
            error
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.session.disconnect();
        if let Some(runtime) = self.runtime.take() {
            // Also right where the caller is itself a task of a runtime.
            runtime.shutdown_background();
        }
    }
}

impl Sink for Postgres {
    fn name(&self) -> String {
        self.session.name.clone()
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError> {
        self.run(async |session| session.last_applied(scope).await.map(Some))
    }

    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError> {
        self.run(async |session| session.applied(batch).await.map(Some))
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        let mut load = Load { batch, records, encoded: None };
        self.run(async |session| session.deliver(&mut load, false).await)?;
        Ok(Delivered::default())
    }

    fn encoder(&mut self) -> Option<Arc<dyn Encode>> {
        // What is in the way, the delivery tells.
        self.run(async |session| session.look().await).ok()?;
        let table = Arc::clone(self.session.table.as_ref()?);
        Some(Arc::new(Encoder { table, wanted: Arc::clone(&self.session.wanted) }))
    }

    fn deliver_encoded(
        &mut self,
        batch: &BatchId,
        records: &[Delivery],
        encoded: super::Encoded,
    ) -> Result<Delivered, SinkError> {
        let mut load = Load { batch, records, encoded: encoded.downcast().ok() };
        self.run(async |session| session.deliver(&mut load, false).await)?;
        Ok(Delivered::default())
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        self.run(async |session| session.fingerprint().await)
    }

    fn prepare(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<(), SinkError> {
        let mut load = Load { batch, records, encoded: None };
        self.run(async |session| session.deliver(&mut load, true).await)
    }

    fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), SinkError> {
        self.run(async |session| session.settle(batch, commit).await)
    }

    fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, SinkError> {
        self.run(async |session| session.prepared(scope).await)
    }
}

/// What there is to know of server and table.
struct Session {
    name: String,
    server: Server,
    wanted: Arc<Wanted>,
    /// The table's schema, quoted, with a dot behind it; empty when it is the default one.
    schema: String,
    /// Tables, quoted, with their schema.
    quoted: String,
    ledger: String,
    fence: String,
    keys: String,
    client: Option<Client>,
    /// The database that the client is connected to.
    database: String,
    /// The table as it was in the last transaction that was committed.
    table: Option<Arc<Table>>,
    has_ledger: bool,
    /// Whether keys can be remembered, where that was looked at.
    has_keys: Option<bool>,
    /// The scope that is known to have a row in the table of fences.
    fenced: Option<String>,
    /// Whether something stood under a key that was to be new: rows are expected from then on.
    met_rows: Cell<bool>,
}

impl Session {
    async fn client(&mut self) -> Result<&mut Client, Failure> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.disconnect();
            let client = self.server.connect().await?;
            self.database = client.query_one("SELECT current_database()::text", &[]).await?.get(0);
            self.client = Some(client);
        }
        Ok(self.client.as_mut().expect("connected just now"))
    }

    /// Forgets all that a connection knew.
    fn disconnect(&mut self) {
        self.client = None;
        self.table = None;
        self.has_ledger = false;
        self.has_keys = None;
        self.fenced = None;
    }

    fn refused(&self, error: String, help: Option<String>) -> Failure {
        Failure::Sink(SinkError::Refused { sink: self.name.clone(), error, help })
    }

    /// The scope in ledger and fence: two sinks of a stage may be tables of one database.
    fn scope(&self, scope: &str) -> String {
        super::table_scope(scope, &self.wanted.table)
    }

    async fn last_applied(&mut self, scope: &str) -> Result<u64, Failure> {
        let scope = self.scope(scope);
        if !self.find_ledger().await? {
            return Ok(0);
        }
        // A table that was dropped has nothing, whatever the ledger says.
        let query = format!(
            "SELECT CASE WHEN to_regclass($2) IS NULL AND max(puts) > 0 THEN 0 ELSE max(batch_seq) END
             FROM {} WHERE scope = $1",
            self.ledger
        );
        let table = self.quoted.clone();
        let row = self.client().await?.query_one(&query, &[&scope, &table]).await?;
        Ok(unsigned(row.get(0)))
    }

    async fn applied(&mut self, batch: &BatchId) -> Result<bool, Failure> {
        if !self.find_ledger().await? || self.is_prepared(batch).await? {
            return Ok(false);
        }
        let lock = format!("SELECT fence FROM {} WHERE scope = $1 FOR UPDATE", self.fence);
        let (name, ledger, scope) = (self.name.clone(), self.ledger.clone(), self.scope(&batch.scope));
        let transaction = self.client().await?.transaction().await?;
        // A transaction of a process that is gone may still be about to commit: its end is waited for.
        transaction.query_opt(&lock, &[&scope]).await?;
        recorded(&transaction, &name, &ledger, &scope, batch).await
    }

    /// Returns whether there are ledger and fences.
    async fn find_ledger(&mut self) -> Result<bool, Failure> {
        if !self.has_ledger {
            let (ledger, fence) = (self.ledger.clone(), self.fence.clone());
            let query = "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL";
            self.has_ledger = self.client().await?.query_one(query, &[&ledger, &fence]).await?.get(0);
        }
        Ok(self.has_ledger)
    }

    /// Sees to it that ledger and fences are there, with a row for the scope: in transactions of their own, so that
    /// whoever comes next finds a row to lock.
    async fn make_ledger(&mut self, scope: &str) -> Result<(), Failure> {
        if !self.find_ledger().await? {
            let (ledger, fence) = (self.ledger.clone(), self.fence.clone());
            let transaction = self.client().await?.transaction().await?;
            transaction
                .batch_execute(&format!(
                    // Two at once would both find nothing, and one fail: one after the other.
                    "SELECT pg_advisory_xact_lock(hashtext('cairn_ledger'));
                     CREATE TABLE IF NOT EXISTS {ledger} (scope text, batch_seq bigint, fence bigint NOT NULL,
                         digest text NOT NULL, puts bigint NOT NULL,
                         committed_at timestamptz NOT NULL DEFAULT now(),
                         PRIMARY KEY (scope, batch_seq));
                     CREATE TABLE IF NOT EXISTS {fence} (scope text PRIMARY KEY, fence bigint NOT NULL)"
                ))
                .await?;
            transaction.commit().await?;
            self.has_ledger = true;
        }
        self.make_keys().await?;
        if self.fenced.as_deref() != Some(scope) {
            let insert = format!("INSERT INTO {} VALUES ($1, 0) ON CONFLICT DO NOTHING", self.fence);
            self.client().await?.execute(&insert, &[&scope]).await?;
            self.fenced = Some(scope.to_owned());
        }
        Ok(())
    }

    /// Sees to it that there is a table of keys, where this user may make one: a ledger of before was made without.
    async fn make_keys(&mut self) -> Result<(), Failure> {
        if self.has_keys.is_some() || self.wanted.mode == SinkMode::Append {
            return Ok(());
        }
        let keys = self.keys.clone();
        let schema = self.schema.trim_end_matches('.').to_owned();
        let query = "SELECT to_regclass($1) IS NOT NULL, coalesce(has_schema_privilege(
                         CASE WHEN $2 = '' THEN current_schema() ELSE (parse_ident($2))[1] END, 'CREATE'), false),
                       coalesce((SELECT bool_and(has_table_privilege(to_regclass($1), wanted))
                                 FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted), false)";
        let row = self.client().await?.query_one(query, &[&keys, &schema]).await?;
        let (there, may_make, mut usable): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
        if there && !usable {
            tracing::warn!(table = keys, "not granted to this user: how keys are written is not remembered");
        }
        if !there && may_make {
            let transaction = self.client().await?.transaction().await?;
            transaction
                .batch_execute(&format!(
                    "SELECT pg_advisory_xact_lock(hashtext('cairn_ledger'));
                     CREATE TABLE IF NOT EXISTS {keys} (scope text, stored text, key text NOT NULL,
                         PRIMARY KEY (scope, stored))"
                ))
                .await?;
            transaction.commit().await?;
            usable = true;
        }
        self.has_keys = Some(usable);
        Ok(())
    }

    /// Looks at the table, where it is there and was not looked at yet.
    async fn look(&mut self) -> Result<(), Failure> {
        if self.table.is_none() {
            let mut client =
                self.client.take().ok_or_else(|| self.refused("not connected".to_owned(), None))?;
            let found = self.find_table(&mut client).await;
            self.client = Some(client);
            self.table = found?.map(Arc::new);
        }
        Ok(())
    }

    async fn find_table(&self, client: &mut Client) -> Result<Option<Table>, Failure> {
        let transaction = client.transaction().await?;
        let Some(table) = Table::read(&transaction, &self.quoted).await? else { return Ok(None) };
        self.check_table(table).map(Some)
    }

    async fn deliver(&mut self, load: &mut Load<'_>, prepare: bool) -> Result<(), Failure> {
        let known = self.table.is_some();
        match self.try_deliver(load, prepare).await {
            // The table was altered since it was looked at.
            Err(Failure::Sql(error)) if known && of_schema(&error) => {
                self.table = None;
                self.try_deliver(load, prepare).await
            }
            done => done,
        }
    }

    async fn try_deliver(&mut self, load: &mut Load<'_>, prepare: bool) -> Result<(), Failure> {
        let batch = load.batch;
        let scope = self.scope(&batch.scope);
        // A connection that broke since the last batch is made anew.
        self.client().await?;
        self.make_ledger(&scope).await?;
        let gid = self.gid(batch).await?;
        if prepare && self.is_prepared(batch).await? {
            let help = "settle it first (`COMMIT PREPARED` or `ROLLBACK PREPARED`)".to_owned();
            return Err(self.refused(format!("the transaction `{gid}` is prepared already"), Some(help)));
        }
        let known = self.table.take();
        let mut client = self.client.take().ok_or_else(|| self.refused("not connected".to_owned(), None))?;
        let done = self.transact(&mut client, known, &scope, load, prepare.then_some(gid)).await;
        self.client = Some(client);
        self.table = done?;
        Ok(())
    }

    /// Does the work of one transaction; returns the table as it found or made it.
    async fn transact(
        &self,
        client: &mut Client,
        known: Option<Arc<Table>>,
        scope: &str,
        load: &mut Load<'_>,
        gid: Option<String>,
    ) -> Result<Option<Arc<Table>>, Failure> {
        let Load { batch, records, .. } = *load;
        let mut transaction = client.transaction().await?;
        self.raise_fence(&transaction, scope, batch).await?;
        if recorded(&transaction, &self.name, &self.ledger, scope, batch).await? {
            transaction.rollback().await?;
            return Ok(known);
        }
        self.record(&transaction, scope, batch, puts(records)).await?;
        let table = match known {
            Some(table) => Some(table),
            None => self.table(&transaction, records).await?.map(Arc::new),
        };
        let mut faults = Vec::new();
        if let Some(table) = &table {
            let mut encoded = load.encoded_for(table, &self.wanted);
            let staging = Staging {
                name: match &gid {
                    // Its name stays taken until the transaction is settled.
                    Some(gid) => format!("{}{}", self.schema, quoted(&staging_name(gid))),
                    None => "pg_temp.\"cairn_batch\"".to_owned(),
                },
                for_prepare: gid.is_some(),
            };
            let keys = if self.has_keys == Some(true) && encoded.faults.is_empty() {
                let begun_in = (batch.sequence == 1).then_some(self.quoted.as_str());
                Some(Keys::of(&transaction, &self.keys, scope, begun_in).await?)
            } else {
                None
            };
            let target = Target { table, wanted: &self.wanted, quoted: &self.quoted, staging, keys };
            faults = std::mem::take(&mut encoded.faults);
            if faults.is_empty() && !self.copy(&target, &mut transaction, &encoded, records).await? {
                faults = target.apply(&mut transaction, &encoded, records).await?;
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.index);
            transaction.rollback().await?;
            return Err(SinkError::Records(faults).into());
        }
        match gid {
            None => transaction.commit().await?,
            Some(gid) => {
                transaction.batch_execute(&format!("PREPARE TRANSACTION {}", literal(&gid))).await?;
                // The session is outside of the transaction now: this ends the guard, and does nothing.
                transaction.rollback().await?;
            }
        }
        Ok(table)
    }

    /// Copies a batch of new rows into the table; returns whether that could be done.
    async fn copy(
        &self,
        target: &Target<'_>,
        transaction: &mut Transaction<'_>,
        encoded: &batch::Encoded,
        records: &[Delivery],
    ) -> Result<bool, Failure> {
        if self.met_rows.get() || !target.takes_copy(encoded, records) {
            return Ok(false);
        }
        let copied = target.copy(transaction, encoded).await?;
        self.met_rows.set(matches!(copied, Copied::Met));
        Ok(matches!(copied, Copied::All))
    }

    /// Locks the scope's fence until the end of the transaction, and raises it to that of `batch`.
    async fn raise_fence(
        &self,
        transaction: &Transaction<'_>,
        scope: &str,
        batch: &BatchId,
    ) -> Result<(), Failure> {
        let ours = signed(batch.fence);
        let lock = format!("SELECT fence FROM {} WHERE scope = $1 FOR UPDATE", self.fence);
        let seen: i64 = transaction.query_opt(&lock, &[&scope]).await?.map_or(0, |row| row.get(0));
        if seen > ours {
            let (error, help) = super::fenced_off(batch);
            return Err(self.refused(error, Some(help)));
        }
        if seen < ours {
            let raise = format!("UPDATE {} SET fence = $2 WHERE scope = $1", self.fence);
            transaction.execute(&raise, &[&scope, &ours]).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        transaction: &Transaction<'_>,
        scope: &str,
        batch: &BatchId,
        puts: i64,
    ) -> Result<(), Failure> {
        let insert = format!(
            "INSERT INTO {} (scope, batch_seq, fence, digest, puts) VALUES ($1, $2, $3, $4, $5)",
            self.ledger
        );
        let (sequence, fence) = (signed(batch.sequence), signed(batch.fence));
        transaction.execute(&insert, &[&scope, &sequence, &fence, &batch.digest.to_string(), &puts]).await?;
        let forget = format!("DELETE FROM {} WHERE scope = $1 AND batch_seq <= $2", self.ledger);
        let oldest = signed(batch.sequence.saturating_sub(LEDGER_KEEPS));
        transaction.execute(&forget, &[&scope, &oldest]).await?;
        Ok(())
    }

    /// Returns the table's columns, making it first when it is not there and something is put there.
    async fn table(
        &self,
        transaction: &Transaction<'_>,
        records: &[Delivery],
    ) -> Result<Option<Table>, Failure> {
        let table = if let Some(table) = Table::read(transaction, &self.quoted).await? {
            table
        } else if puts(records) == 0 {
            return Ok(None);
        } else {
            transaction.batch_execute(&self.create(records)).await?;
            let made = Table::read(transaction, &self.quoted).await?;
            made.ok_or_else(|| self.refused("the table is not there after it was made".to_owned(), None))?
        };
        self.check_table(table).map(Some)
    }

    /// Gives a table back that has what is needed.
    fn check_table(&self, table: Table) -> Result<Table, Failure> {
        let name = &self.wanted.table;
        for path in self.wanted.paths().map(ToString::to_string) {
            if table.position(&path).is_none() {
                let add = format!("ALTER TABLE {} ADD COLUMN {} …", self.quoted, quoted(&path));
                return Err(self.refused(
                    format!("the table `{name}` has no column `{path}`, a field of the key or the version"),
                    Some(format!("add it (`{add}`), or set the sink's `key` to fields that are columns")),
                ));
            }
        }
        let key = self.wanted.key_names();
        if self.wanted.mode != SinkMode::Append && !table.is_unique(&key) {
            let names: Vec<String> = key.iter().map(|name| format!("`{name}`")).collect();
            return Err(self.refused(
                format!("the table `{name}` has no unique index over {}", names.join(", ")),
                Some(format!("CREATE UNIQUE INDEX ON {} ({})", self.quoted, list("", &key))),
            ));
        }
        Ok(table)
    }

    fn create(&self, records: &[Delivery]) -> String {
        let can_be = |name: &str, _: &[String]| {
            // A longer one would be cut short in silence.
            !name.is_empty() && name.len() <= 63 && !name.contains('\0') && !SYSTEM_COLUMNS.contains(&name)
        };
        let columns = self.wanted.columns_for(records, COLUMNS_MAX, can_be, |kind| match kind {
            Kind::Boolean => "boolean",
            Kind::Integer => "bigint",
            Kind::Real => "numeric",
            Kind::Nested => "jsonb",
            Kind::Unknown | Kind::Text | Kind::Mixed => "text",
        });
        let mut lines: Vec<String> =
            columns.iter().map(|(name, kind)| format!("{} {kind}", quoted(name))).collect();
        if self.wanted.mode != SinkMode::Append {
            lines.push(format!("PRIMARY KEY ({})", list("", &self.wanted.key_names())));
        }
        format!("CREATE TABLE {} ({})", self.quoted, lines.join(", "))
    }

    async fn fingerprint(&mut self) -> Result<Option<Digest>, Failure> {
        let table = self.quoted.clone();
        let client = self.client().await?;
        let transaction = client.build_transaction().read_only(true).start().await?;
        let Some(found) = Table::read(&transaction, &table).await? else { return Ok(None) };
        let mut names: Vec<String> = found.columns.into_iter().map(|column| column.name).collect();
        names.sort();
        let mut digest = Rows::new(&names);
        let copy = format!("COPY (SELECT {} FROM {table}) TO STDOUT", list("", &names));
        let mut stream = std::pin::pin!(transaction.copy_out(&copy).await?);
        let mut rest = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            // A line a row, line ends inside of values written as `\n`.
            rest.extend_from_slice(&chunk);
            let mut start = 0;
            while let Some(length) = memchr::memchr(b'\n', &rest[start..]) {
                digest.add(&rest[start..start + length]);
                start += length + 1;
            }
            rest.drain(..start);
        }
        Ok(Some(digest.finish()))
    }
}

/// Returns whether the ledger has the batch. Another digest, or a batch from before what it remembers, is refused.
async fn recorded(
    transaction: &Transaction<'_>,
    name: &str,
    ledger: &str,
    scope: &str,
    batch: &BatchId,
) -> Result<bool, Failure> {
    let refused = |error: String| {
        let help = Some(super::ahead_help(batch));
        Err(Failure::Sink(SinkError::Refused { sink: name.to_owned(), error, help }))
    };
    let query = format!(
        "SELECT (SELECT digest FROM {ledger} WHERE scope = $1 AND batch_seq = $2),
                (SELECT max(batch_seq) FROM {ledger} WHERE scope = $1)"
    );
    let row = transaction.query_one(&query, &[&scope, &signed(batch.sequence)]).await?;
    let last = unsigned(row.get(1));
    match row.get::<_, Option<String>>(0) {
        Some(digest) if digest == batch.digest.to_string() => Ok(true),
        Some(digest) => refused(super::other_digest(batch, &digest)),
        None if batch.sequence + LEDGER_KEEPS <= last => refused(super::forgotten(batch, last)),
        None => Ok(false),
    }
}

/// PostgreSQL's integers are signed; no sequence number comes near.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}
