//! Several sinks of one stage: ledgers apart, and transactions that are prepared and settled together.

use super::*;

/// A second sink of the stage, in the same database.
fn refunds(db: &Database) -> Given {
    let mut given = db.given();
    given.definition.place = SinkPlace::Postgres { url: Address(db.url.clone()), table: "refunds".into() };
    given
}

#[test]
fn two_sinks_of_a_stage_in_one_database_keep_their_ledgers_apart() {
    let db = Database::new();
    let (mut orders, mut refunds) = (db.open(), open(&refunds(&db)));
    let records = [put(r#"{"id":1}"#)];
    let id = batch(1, &records);
    orders.deliver(&id, &records).unwrap();
    assert_eq!(refunds.applied(&id).unwrap(), Some(false));
    refunds.deliver(&id, &records).unwrap();
    assert_eq!(db.sql("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM refunds)"), "1|1");
}

#[test]
fn prepared_transactions_are_settled_by_whoever_comes() {
    let db = Database::new();
    let prepared =
        || db.sql("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid");
    let records = [put(r#"{"id":1,"v":"a"}"#), put(r#"{"id":2,"v":"b"}"#)];
    let id = batch(1, &records);
    {
        let (mut orders, mut refunds) = (db.open(), open(&refunds(&db)));
        orders.prepare(&id, &records).unwrap();
        refunds.prepare(&id, &records).unwrap();
        let name = |table: &str| format!("cairn:project/load/0/{table}@{}:1", db.name);
        assert_eq!(prepared(), format!("{}\n{}", name("orders"), name("refunds")));
        assert_eq!(
            orders.applied(&id).unwrap(),
            Some(false),
            "answered without waiting for it to be settled"
        );
        let (error, help) = refusal(orders.prepare(&id, &records));
        assert!(error.contains("is prepared already") && help.contains("settle"), "{error} {help}");
    }
    // The process is gone; the next one finds them.
    let (mut orders, mut refunds) = (db.open(), open(&refunds(&db)));
    assert_eq!(orders.prepared(SCOPE).unwrap(), [1]);
    assert_eq!(refunds.prepared(SCOPE).unwrap(), [1]);
    assert_eq!(
        orders.prepared("project/load").unwrap(),
        [0; 0],
        "another scope, though its name begins the same"
    );
    orders.settle(&id, true).unwrap();
    refunds.settle(&id, false).unwrap();
    // Once more: they are not there any more.
    orders.settle(&id, true).unwrap();
    refunds.settle(&id, false).unwrap();
    assert_eq!(prepared(), "");
    assert_eq!(orders.applied(&id).unwrap(), Some(true));
    assert_eq!(refunds.applied(&id).unwrap(), Some(false));
    assert_eq!(db.sql("SELECT count(*), to_regclass('refunds') IS NULL FROM orders"), "2|t");
    // Rolled back, it can be prepared again; applied, it is not once more.
    refunds.prepare(&id, &records).unwrap();
    orders.prepare(&id, &records).unwrap();
    assert_eq!(prepared(), format!("cairn:project/load/0/refunds@{}:1", db.name));
    refunds.settle(&id, true).unwrap();
    let more = [put(r#"{"id":2,"v":"c"}"#), delete(r#"{"id":1}"#)];
    let next = batch(2, &more);
    refunds.prepare(&next, &more).unwrap();
    refunds.settle(&next, true).unwrap();
    assert_eq!(db.sql("SELECT * FROM refunds"), "2|c");
    assert_eq!(
        db.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'cairn_batch%'"),
        "0",
        "no staging table stays"
    );
}

#[test]
fn the_same_table_of_two_databases_is_prepared_apart() {
    let (one, two) = (Database::new(), Database::new());
    let (mut here, mut there) = (one.open(), two.open());
    let records = [put(r#"{"id":1}"#)];
    let id = batch(1, &records);
    here.prepare(&id, &records).unwrap();
    there.prepare(&id, &records).unwrap();
    here.settle(&id, true).unwrap();
    there.settle(&id, true).unwrap();
    assert_eq!([one.sql("SELECT count(*) FROM orders"), two.sql("SELECT count(*) FROM orders")], ["1", "1"]);
}

#[test]
fn faults_are_told_of_before_anything_is_prepared() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (id int PRIMARY KEY, n int CHECK (n > 0))");
    let mut sink = db.open();
    let records = [put(r#"{"id":1,"n":1}"#), put(r#"{"id":2,"n":0}"#)];
    let found = faults(sink.prepare(&batch(1, &records), &records));
    assert_eq!(found[0].0, 1);
    assert_eq!(sink.prepared(SCOPE).unwrap(), [0; 0]);
}

#[test]
fn a_long_scope_gets_a_short_name_and_is_found_again() {
    let db = Database::new();
    let mut sink = db.open();
    let records = [put(r#"{"id":1}"#)];
    let mut id = batch(u64::from(u32::MAX), &records);
    id.scope = "é".repeat(200);
    sink.prepare(&id, &records).unwrap();
    assert_eq!(sink.prepared(&id.scope).unwrap(), [id.sequence]);
    sink.settle(&id, true).unwrap();
    assert_eq!(sink.applied(&id).unwrap(), Some(true));
}

#[test]
fn a_server_that_prepares_nothing_is_refused_with_the_mend() {
    let server = PostgresServer::start(&["max_prepared_transactions = 0"]);
    let mut sink = open(&at(&server.database("none")));
    let records = [put(r#"{"id":1}"#)];
    let (error, help) = refusal(sink.prepare(&batch(1, &records), &records));
    assert!(error.contains("prepared transactions are disabled"), "{error}");
    assert!(help.contains("set `max_prepared_transactions` above 0"), "{help}");
    // By itself it still takes them, and after a stop it is not there.
    deliver(&mut *sink, &records).unwrap();
    drop(server);
    outage(deliver(&mut *sink, &[put(r#"{"id":2}"#)]));
}
