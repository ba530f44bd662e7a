//! PostgreSQL: rows and ledger in one transaction, whatever the records, the connection and the server do.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cairn_model::{Address, SinkMode, SinkPlace};
use cairn_records::sink::Sink;
use cairn_testkit::PostgresServer;

use crate::proxy::{Cut, Proxy};
use crate::support::{Given, SCOPE, batch, delete, deliver, faults, outage, put, refusal};

mod direct;
mod keys;
mod order;
mod several;

/// One server for all tests of this binary; it ends with it.
fn server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(|| PostgresServer::start(&[]))
}

/// A database of a test's own.
struct Database {
    name: String,
    url: String,
}

impl Database {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = server().database(&name);
        Self { name, url }
    }

    fn sql(&self, sql: &str) -> String {
        server().sql(&self.name, sql)
    }

    fn given(&self) -> Given {
        at(&self.url)
    }

    fn open(&self) -> Box<dyn Sink> {
        self.given().open(Path::new("/"))
    }

    /// Ends all connections but its own.
    fn cut(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
}

fn at(url: &str) -> Given {
    Given::new(SinkPlace::Postgres { url: Address(url.to_owned()), table: "orders".into() })
}

fn open(given: &Given) -> Box<dyn Sink> {
    given.open(Path::new("/"))
}

#[test]
fn a_missing_table_is_made_from_the_records() {
    let db = Database::new();
    let mut sink = db.open();
    let records = [
        put(r#"{"id":2,"name":"b","sum":1.50,"ok":true,"tags":["x",{"y":null}],"none":null,"any":1}"#),
        put(r#"{"id":1,"sum":12345678901234567890.123,"name":"a\"é","any":"x"}"#),
    ];
    deliver(&mut *sink, &records).unwrap();
    assert_eq!(
        db.sql("SELECT * FROM orders ORDER BY id"),
        "1|a\"é|12345678901234567890.123||||x\n2|b|1.50|t|[\"x\", {\"y\": null}]||1"
    );
    assert_eq!(
        db.sql("SELECT string_agg(attname || ' ' || atttypid::regtype, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0"),
        "id bigint, name text, sum numeric, ok boolean, tags jsonb, none text, any text"
    );
    assert_eq!(
        db.sql("SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conrelid = 'orders'::regclass"),
        "1"
    );
}

#[test]
fn a_missing_table_is_made_from_declared_columns() {
    let db = Database::new();
    let given = db.given().column("id", "text").column("n", "numeric(5,2)");
    let mut sink = open(&given);
    let faulty = faults(deliver(&mut *sink, &[put(r#"{"id":"a","n":1,"m":2}"#)]));
    assert!(faulty[0].1.contains("the field `m` is no column"), "{faulty:?}");
    assert_eq!(
        db.sql("SELECT to_regclass('orders') IS NULL"),
        "t",
        "nothing of a batch that does not fit stays"
    );
    deliver(&mut *sink, &[put(r#"{"id":"a","n":"1.005"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT * FROM orders"), "a|1.01");
}

#[test]
fn values_of_all_types_arrive() {
    let db = Database::new();
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad');
            CREATE DOMAIN positive AS int CHECK (VALUE > 0);
            CREATE TABLE orders (id int2 PRIMARY KEY, a int4, b int8, c float4, d float8, e numeric(6,2), f varchar(3), g char(3), h bool,
                i date, j timestamp, k timestamptz, l json, m jsonb, n uuid, o bytea, p mood, q positive, r inet, s int[], t interval, u \"char\")");
    let record = r#"{"id":1,"a":-2,"b":9007199254740993,"c":0.5,"d":1e300,"e":-1234.567,"f":"äöü","g":"x","h":"yes","i":"1999-12-31",
        "j":"2024-05-01T10:00:00.1234565","k":"2024-05-01T10:00:00+02:00","l":{"b": 1,"a":2},"m":{"b":1,"a":"\"é"},
        "n":"A0EEBC999C0B4EF8BB6D6BB9BD380A11","o":"\\xDEAD","p":"sad","q":"3","r":"10.0.0.1","s":"{1,2}","t":"1 day","u":"z"}"#;
    let record = record.replace('\n', " ");
    let mut sink = db.open();
    deliver(&mut *sink, &[put(&record)]).unwrap();
    let row = "1|-2|9007199254740993|0.5|1e+300|-1234.57|äöü|x  |t|1999-12-31|2024-05-01 10:00:00.123457|2024-05-01 08:00:00+00|\
        {\"b\": 1,\"a\":2}|{\"a\": \"\\\"é\", \"b\": 1}|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|\\xdead|sad|3|10.0.0.1|{1,2}|1 day|z";
    assert_eq!(db.sql("SET TimeZone = 'UTC'; SELECT * FROM orders"), row);
    let xmin = db.sql("SELECT xmin FROM orders");
    deliver(&mut *sink, &[put(&record)]).unwrap();
    assert_eq!(db.sql("SELECT xmin FROM orders"), xmin, "an equal row is not written, whatever its types");

    let bad = [
        (r#""a":2147483648"#, "column `a` of type integer does not take a number `2147483648`"),
        (r#""e":"99999.999""#, "column `e` of type numeric(6,2) does not take a string `99999.999`"),
        (r#""f":"abcd""#, "column `f` of type character varying(3) does not take a string `abcd`"),
        (r#""i":"2023-02-30""#, "column `i` of type date does not take a string `2023-02-30`"),
        (
            r#""k":1714550400"#,
            "column `k` of type timestamp with time zone does not take a number `1714550400`",
        ),
        (r#""m":"\u0000""#, "column `m` of type jsonb does not take a string `\0`"),
        (r#""o":"DEAD""#, "column `o` of type bytea does not take a string `DEAD`"),
        (r#""p":"so so""#, "invalid input value for enum mood: \"so so\""),
        (r#""q":-1"#, "value for domain positive violates check constraint \"positive_check\""),
        (r#""d":[1]"#, "column `d` of type double precision does not take an array or object `[1]`"),
    ];
    let records: Vec<_> =
        bad.iter().zip(2..).map(|((field, _), id)| put(&format!(r#"{{"id":{id},{field}}}"#))).collect();
    let found: Vec<String> = records
        .iter()
        .flat_map(|record| faults(deliver(&mut *sink, std::slice::from_ref(record))))
        .map(|(_, error)| error)
        .collect();
    assert_eq!(found, bad.map(|(_, error)| error));
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "1");
}

#[test]
fn records_that_the_server_does_not_take_are_found_among_good_ones() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (id int PRIMARY KEY, n int CHECK (n <> 7), m text UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    let mut sink = db.open();
    let record = |id: usize, n: usize| {
        put(&format!(r#"{{"id":{id},"n":{n},"m":"{}"}}"#, if id == 90 { 89 } else { id }))
    };
    let records: Vec<_> = (0..100).map(|id| record(id, if [3, 50].contains(&id) { 7 } else { 1 })).collect();
    let found = faults(deliver(&mut *sink, &records));
    let numbers: Vec<usize> = found.iter().map(|(index, _)| *index).collect();
    assert_eq!(numbers, [3, 50, 90], "{found:?}");
    assert!(found[0].1.contains("violates check constraint"), "{found:?}");
    assert!(found[2].1.contains("Key (m)=(89) already exists"), "{found:?}");
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "0");
    let good: Vec<_> = records
        .iter()
        .enumerate()
        .filter(|(n, _)| ![3, 50, 90].contains(n))
        .map(|(_, r)| r.clone())
        .collect();
    deliver(&mut *sink, &good).unwrap();
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "97");
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(1));
}

#[test]
fn an_upsert_writes_only_what_differs_and_nothing_older() {
    let db = Database::new();
    let mut sink = open(&db.given().version("at"));
    let first = [
        put(r#"{"id":1,"at":"2024-05-01T10:00:00+02:00","v":"a"}"#),
        put(r#"{"id":2,"at":"2024-05-01","v":"a"}"#),
    ];
    deliver(&mut *sink, &first).unwrap();
    let xmin = db.sql("SELECT id, xmin FROM orders ORDER BY id");
    deliver(&mut *sink, &first).unwrap();
    // Older: its text is greater, its instant is not.
    deliver(&mut *sink, &[put(r#"{"id":1,"at":"2024-05-01T07:59:59Z","v":"old"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT id, xmin FROM orders ORDER BY id"), xmin);
    // The same instant with other content passes: the order of equal versions is decided before.
    deliver(&mut *sink, &[put(r#"{"id":1,"at":"2024-05-01T08:00:00Z","v":"same"}"#)]).unwrap();
    deliver(
        &mut *sink,
        &[put(r#"{"id":2,"at":"2024-05-02","v":"new"}"#), put(r#"{"id":3,"at":"2024-05-02","v":"c"}"#)],
    )
    .unwrap();
    assert_eq!(db.sql("SELECT id, v FROM orders ORDER BY id"), "1|same\n2|new\n3|c");
}

/// What comes first may be nothing but tombstones: they are not what the table is made after.
#[test]
fn tombstones_alone_make_no_table() {
    let db = Database::new();
    let mut sink = open(&db.given().version("at"));
    let gone = [delete(r#"{"id":1,"at":5}"#)];
    let first = batch(1, &gone);
    sink.deliver(&first, &gone).unwrap();
    assert_eq!(sink.applied(&first).unwrap(), Some(true));
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(1));
    let there = [put(r#"{"id":2,"at":1,"v":"x"}"#), delete(r#"{"id":3,"at":1}"#)];
    sink.deliver(&batch(2, &there), &there).unwrap();
    assert_eq!(db.sql("SELECT id, v FROM orders"), "2|x");
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(2));
}

#[test]
fn a_table_that_was_dropped_has_nothing() {
    let db = Database::new();
    let mut sink = open(&db.given());
    deliver(&mut *sink, &[put(r#"{"id":1}"#)]).unwrap();
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(1));
    db.sql("DROP TABLE orders");
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(0));
}

#[test]
fn a_repeated_delivery_is_known_and_another_under_its_number_refused() {
    let db = Database::new();
    let mut sink = open(&db.given().mode(SinkMode::Append));
    let records = [put(r#"{"id":1}"#), put(r#"{"id":1}"#)];
    let id = batch(1, &records);
    assert_eq!(sink.applied(&id).unwrap(), Some(false));
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(0));
    sink.deliver(&id, &records).unwrap();
    assert_eq!(sink.applied(&id).unwrap(), Some(true));
    sink.deliver(&id, &records).unwrap();
    drop(sink);
    let mut sink = open(&db.given().mode(SinkMode::Append));
    sink.deliver(&id, &records).unwrap();
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "2");
    assert_eq!(sink.last_applied(SCOPE).unwrap(), Some(1));
    let other = [put(r#"{"id":2}"#)];
    let (error, _) = refusal(sink.deliver(&batch(1, &other), &other));
    assert!(error.contains("was applied with other content"), "{error}");
    refusal(sink.applied(&batch(1, &other)));
}

#[test]
fn the_ledger_keeps_the_last_hundred_and_says_when_it_cannot_tell() {
    let db = Database::new();
    let mut sink = db.open();
    let records = [put(r#"{"id":1}"#)];
    for sequence in 1..=103 {
        sink.deliver(&batch(sequence, &records), &records).unwrap();
    }
    assert_eq!(db.sql("SELECT count(*), min(batch_seq) FROM cairn_ledger"), "100|4");
    let (error, _) = refusal(sink.deliver(&batch(3, &records), &records));
    assert!(error.contains("does not tell any more"), "{error}");
}

#[test]
fn a_lower_fence_is_refused() {
    let db = Database::new();
    let (mut old, mut new) = (db.open(), db.open());
    let records = [put(r#"{"id":1}"#)];
    old.deliver(&batch(1, &records), &records).unwrap();
    let later = [put(r#"{"id":2}"#)];
    let mut id = batch(2, &later);
    id.fence = 2;
    new.deliver(&id, &later).unwrap();
    let last = [put(r#"{"id":3}"#)];
    let (error, help) = refusal(old.deliver(&batch(3, &last), &last));
    assert!(error.contains("another cairn writes here"), "{error}");
    assert!(help.contains("run again"), "{help}");
    assert_eq!(db.sql("SELECT id FROM orders ORDER BY id"), "1\n2");
}

#[test]
fn a_table_without_the_unique_index_is_refused_with_the_ddl() {
    let db = Database::new();
    db.sql(r#"CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, "b c" text, v text); CREATE UNIQUE INDEX ON shop.orders (id) WHERE id > 0"#);
    let mut given = db.given().key(&["id", "b c"]);
    given.definition.place =
        SinkPlace::Postgres { url: Address(db.url.clone()), table: "shop.orders".into() };
    let mut sink = open(&given);
    let records = [put(r#"{"id":1,"b c":"x","v":"1"}"#)];
    let (error, help) = refusal(deliver(&mut *sink, &records));
    assert_eq!(error, "the table `shop.orders` has no unique index over `id`, `b c`");
    assert_eq!(help, r#"CREATE UNIQUE INDEX ON "shop"."orders" ("id", "b c")"#);
    db.sql(&help);
    deliver(&mut *sink, &records).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":1,"b c":"x","v":"2"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT * FROM shop.orders"), "1|x|2");
    assert_eq!(db.sql("SELECT count(*) FROM shop.cairn_ledger"), "2", "the ledger is in the table's schema");
    let (error, _) = refusal(deliver(&mut *open(&given.key(&["nr"])), &records));
    assert!(error.contains("no column `nr`"), "{error}");
}

#[test]
fn the_first_one_stays_in_mode_insert() {
    let db = Database::new();
    let mut sink = open(&db.given().mode(SinkMode::Insert));
    deliver(&mut *sink, &[put(r#"{"id":1,"v":"a"}"#)]).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":1,"v":"b"}"#), put(r#"{"id":2,"v":"b"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT * FROM orders ORDER BY id"), "1|a\n2|b");
}

#[test]
fn a_tombstone_deletes_what_is_not_newer() {
    let db = Database::new();
    let mut sink = open(&db.given().version("v"));
    let records: Vec<_> = (1..=3).map(|id| put(&format!(r#"{{"id":{id},"v":5}}"#))).collect();
    deliver(&mut *sink, &records).unwrap();
    let tombstones = [
        delete(r#"{"id":1,"v":6,"deleted":true}"#),
        put(r#"{"id":4,"v":1}"#),
        delete(r#"{"id":2,"v":4,"deleted":true}"#),
        delete(r#"{"id":9,"v":4}"#),
    ];
    deliver(&mut *sink, &tombstones).unwrap();
    deliver(&mut *sink, &tombstones).unwrap();
    assert_eq!(db.sql("SELECT id FROM orders ORDER BY id"), "2\n3\n4");
}

#[test]
fn a_default_is_used_where_a_record_lacks_the_field() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (nr int GENERATED ALWAYS AS IDENTITY, id text UNIQUE, n int DEFAULT 7, m int, twice int GENERATED ALWAYS AS (n * 2) STORED)");
    let mut sink = db.open();
    deliver(
        &mut *sink,
        &[put(r#"{"id":"a"}"#), put(r#"{"id":"b","n":null}"#), put(r#"{"id":"c","n":1,"m":1}"#)],
    )
    .unwrap();
    deliver(&mut *sink, &[put(r#"{"id":"c"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT id, n, m, twice FROM orders ORDER BY id"), "a|7||14\nb|||\nc|1||2");
}

#[test]
fn what_was_encoded_ahead_is_encoded_anew_for_a_table_that_was_altered() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (id int PRIMARY KEY, v int)");
    let mut sink = db.open();
    let encoder = sink.encoder().expect("the table is there");
    let mut go = |sequence, change: &str, record: &str| {
        let records = [put(record)];
        let ahead = encoder.encode(&records);
        if !change.is_empty() {
            db.sql(change);
        }
        sink.deliver_encoded(&batch(sequence, &records), &records, ahead)
    };
    go(1, "", r#"{"id":1,"v":7}"#).unwrap();
    go(
        2,
        "ALTER TABLE orders RENAME COLUMN v TO w; ALTER TABLE orders ADD COLUMN v text",
        r#"{"id":2,"v":8}"#,
    )
    .unwrap();
    assert_eq!(db.sql("SELECT id, v, w FROM orders ORDER BY id"), "1||7\n2|8|");
    // What does not fit is told by the delivery.
    let failed = faults(go(3, "", r#"{"id":"x","v":9}"#).map(drop));
    assert_eq!(failed.len(), 1, "{failed:?}");
}

#[test]
fn a_table_that_was_altered_is_looked_at_again() {
    let db = Database::new();
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":1,"v":"a"}"#)]).unwrap();
    db.sql("ALTER TABLE orders DROP COLUMN v; ALTER TABLE orders ADD COLUMN w text");
    deliver(&mut *sink, &[put(r#"{"id":2}"#)]).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":3,"w":"x"}"#)]).unwrap();
    assert_eq!(db.sql("SELECT * FROM orders ORDER BY id"), "1|\n2|\n3|x");
}

#[test]
fn the_fingerprint_is_of_the_rows_alone() {
    let (db, other) = (Database::new(), Database::new());
    let (mut sink, mut elsewhere) = (db.open(), other.open());
    assert_eq!(sink.fingerprint().unwrap(), None);
    let records = [put(r#"{"id":1,"v":"a\nb"}"#), put(r#"{"id":2,"v":"b"}"#)];
    deliver(&mut *sink, &records).unwrap();
    let print = sink.fingerprint().unwrap();
    deliver(&mut *elsewhere, &records[1..]).unwrap();
    assert_ne!(elsewhere.fingerprint().unwrap(), print);
    deliver(&mut *elsewhere, &records[..1]).unwrap();
    assert_eq!(elsewhere.fingerprint().unwrap(), print, "batches, their number and order do not count");
}

#[test]
fn who_does_not_get_in_is_told_why() {
    let db = Database::new();
    let port = server().port();
    let try_open = |url: &str| at(url).try_open(Path::new("/"));
    let (error, help) = refusal(try_open(&format!("postgres://locked:wrong@127.0.0.1:{port}/postgres")));
    assert!(error.contains("password authentication failed for user \"locked\""), "{error}");
    assert!(help.contains("password") && !format!("{error}{help}").contains("wrong"), "{error} {help}");
    let (error, help) = refusal(try_open(&format!("postgres://cairn@127.0.0.1:{port}/nowhere")));
    assert_eq!(error, "database \"nowhere\" does not exist");
    assert!(help.contains("createdb"), "{help}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = outage(try_open(&format!("postgres://cairn@127.0.0.1:{closed}/x")));
    assert!(error.contains("Connection refused"), "{error}");
    let error = outage(try_open("postgres://cairn@no-such-host.invalid/x"));
    assert!(error.contains("lookup"), "{error}");
    refusal(try_open("postgres://cairn@localhost:port/x"));

    let sink = try_open(&format!("postgres://locked:right@127.0.0.1:{port}/{}", db.name)).unwrap();
    assert_eq!(sink.name(), format!("postgres table `orders` at 127.0.0.1:{port}/{}", db.name));
    let socket = server().socket().display();
    let mut sink = open(&at(&format!("host={socket} port={port} user=cairn dbname={}", db.name)));
    deliver(&mut *sink, &[put(r#"{"id":1}"#)]).unwrap();

    // The role may not make tables.
    let mut locked = open(&at(&format!("postgres://locked:right@127.0.0.1:{port}/{}", db.name)));
    let (error, help) = refusal(deliver(&mut *locked, &[put(r#"{"id":2}"#)]));
    assert!(error.contains("permission denied"), "{error}");
    assert!(help.contains("grant"), "{help}");
}

#[test]
fn tls_is_used_and_checked_as_asked() {
    let db = Database::new();
    let (port, name) = (server().port(), &db.name);
    let certificate = server().certificate();
    let url = |host: &str, options: &str| format!("postgres://cairn@{host}:{port}/{name}?{options}");
    let is_encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let verify = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
    for (options, encrypted) in
        [("sslmode=disable", "f"), ("sslmode=prefer", "t"), ("sslmode=require", "t"), (&verify, "t")]
    {
        let mut sink = open(&at(&url("localhost", options)));
        deliver(&mut *sink, &[put(r#"{"id":1}"#)]).unwrap();
        assert_eq!(db.sql(is_encrypted), encrypted, "{options}");
        drop(sink);
        db.cut();
    }
    // Another name than the certificate's.
    let (error, help) = refusal(at(&url("127.0.0.1", &verify)).try_open(Path::new("/")));
    assert!(error.contains("certificate"), "{error}");
    assert!(help.contains("sslrootcert"), "{help}");
}

#[test]
fn a_connection_that_was_cut_is_made_anew() {
    let db = Database::new();
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":1}"#)]).unwrap();
    db.cut();
    // The break is seen by the next batch or not at all; after it there is a new connection.
    if let Err(error) = deliver(&mut *sink, &[put(r#"{"id":2}"#)]) {
        outage(Err::<(), _>(error));
        deliver(&mut *sink, &[put(r#"{"id":2}"#)]).unwrap();
    }
    assert_eq!(db.sql("SELECT id FROM orders ORDER BY id"), "1\n2");
}

#[test]
fn a_backend_killed_in_the_middle_of_a_batch_leaves_nothing_and_redelivery_all_of_it() {
    let db = Database::new();
    let mut sink = db.open();
    let first = [put(r#"{"id":0}"#)];
    deliver(&mut *sink, &first).unwrap();
    // Each row takes a while, so that the batch is surely under way when its backend is killed.
    db.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN new; END';
            CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()");
    let records: Vec<_> = (1..=200).map(|id| put(&format!(r#"{{"id":{id}}}"#))).collect();
    let id = batch(2, &records);
    let error = std::thread::scope(|scope| {
        let delivery = scope.spawn(|| sink.deliver(&id, &records).map(drop));
        let under_way = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while db.sql(under_way) == "0" {
            assert!(!delivery.is_finished(), "the batch was too quick");
        }
        db.cut();
        outage(delivery.join().unwrap())
    });
    assert!(error.contains("terminating connection") || error.contains("closed"), "{error}");
    assert_eq!(sink.applied(&id).unwrap(), Some(false));
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "1");
    db.sql("DROP TRIGGER slow ON orders");
    sink.deliver(&id, &records).unwrap();
    assert_eq!(sink.applied(&id).unwrap(), Some(true));
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "201");
}

#[test]
fn a_commit_whose_answer_was_lost_is_found_in_the_ledger() {
    for (cut, arrived) in [(Cut::After, true), (Cut::Before, false)] {
        let db = Database::new();
        let proxy = Proxy::start(server().port(), "COMMIT\0", cut);
        let url = format!("postgres://cairn@127.0.0.1:{}/{}?sslmode=disable", proxy.port, db.name);
        let mut sink = open(&at(&url));
        deliver(&mut *sink, &[put(r#"{"id":0}"#)]).unwrap();
        proxy.arm();
        let records = [put(r#"{"id":1}"#), put(r#"{"id":2}"#)];
        let id = batch(2, &records);
        outage(sink.deliver(&id, &records));
        // Another connection asks, as a new process would.
        assert_eq!(db.open().applied(&id).unwrap(), Some(arrived));
        sink.deliver(&id, &records).unwrap();
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "3");
        assert_eq!(sink.applied(&id).unwrap(), Some(true));
    }
}

#[test]
fn who_asks_whether_a_batch_was_applied_waits_for_a_transaction_that_is_still_open() {
    let db = Database::new();
    let (mut sink, mut next) = (db.open(), db.open());
    deliver(&mut *sink, &[put(r#"{"id":0}"#)]).unwrap();
    db.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN new; END';
            CREATE TRIGGER slow AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()");
    let records = [put(r#"{"id":1}"#)];
    let id = batch(2, &records);
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| sink.deliver(&id, &records).map(drop));
        let under_way = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while db.sql(under_way) == "0" {
            assert!(!delivery.is_finished(), "the batch was too quick");
        }
        assert_eq!(next.applied(&id).unwrap(), Some(true));
        delivery.join().unwrap().unwrap();
    });
}

#[test]
fn a_row_of_nothing_but_defaults_is_appended() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (id int DEFAULT 7)");
    let mut sink = db.given().mode(SinkMode::Append).key(&[]).open(Path::new("/"));
    deliver(&mut *sink, &[put("{}"), put(r#"{"id":1}"#)]).unwrap();
    deliver(&mut *sink, &[crate::support::known("{}")]).unwrap();
    deliver(&mut *sink, &[put("{}")]).unwrap();
    assert_eq!(db.sql("SELECT id FROM orders ORDER BY id"), "1\n7\n7\n7");
}

#[test]
fn what_is_appended_without_a_key_cannot_be_deleted_and_with_one_is_all_of_it() {
    let db = Database::new();
    for key in [&[][..], &["id"]] {
        let mut sink = open(&db.given().key(key).mode(SinkMode::Append));
        deliver(&mut *sink, &[put(r#"{"id":1}"#), put(r#"{"id":1}"#), put(r#"{"id":2}"#)]).unwrap();
        let deleted = deliver(&mut *sink, &[delete(r#"{"id":1}"#)]);
        if key.is_empty() {
            assert!(faults(deleted)[0].1.contains("no `key`"));
        } else {
            deleted.unwrap();
        }
    }
    assert_eq!(db.sql("SELECT id FROM orders"), "2\n2");
}

#[test]
fn a_large_batch_arrives_whole() {
    let db = Database::new();
    let record = |id: usize| {
        put(&format!(r#"{{"id":{},"n":{id},"text":"{}"}}"#, (id * 7919) % 20_000, "é".repeat(60)))
    };
    let mut records: Vec<_> = (0..20_000).map(record).collect();
    // One value larger than what is sent at once.
    records.push(put(&format!(r#"{{"id":20000,"n":0,"text":"{}"}}"#, "x".repeat(1_000_000))));
    let mut sink = db.open();
    deliver(&mut *sink, &records).unwrap();
    let sums = || db.sql("SELECT count(*), sum(n), sum(length(text)) FROM orders");
    let expected = "20001|199990000|2200000";
    assert_eq!(sums(), expected);
    let print = sink.fingerprint().unwrap();
    deliver(&mut *sink, &records).unwrap();
    assert_eq!((sums(), sink.fingerprint().unwrap()), (expected.to_owned(), print));
}
