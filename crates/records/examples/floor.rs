//! What records stages are measured against: the least that a program must do.
//!
//! ```text
//! floor parse FILE           parse each line of FILE as JSON
//! floor sqlite FILE DATABASE upsert each line into the table `orders`, newest wins
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use rusqlite::Connection;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    id: i64,
    updated_at: &'a str,
    amount: i64,
    name: &'a str,
    note: &'a str,
}

const TABLE: &str =
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at TEXT, amount INTEGER, name TEXT, note TEXT)";
const UPSERT: &str = "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET \
    updated_at = excluded.updated_at, amount = excluded.amount, name = excluded.name, note = excluded.note \
    WHERE excluded.updated_at >= orders.updated_at";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let started = Instant::now();
    let records = match args.as_slice() {
        ["parse", file] => each(file, &mut |order| {
            std::hint::black_box((order.id, order.amount, order.updated_at, order.name, order.note));
            Ok(())
        })?,
        ["sqlite", file, database] => {
            let mut connection = Connection::open(database)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(TABLE)?;
            let transaction = connection.transaction()?;
            let mut upsert = transaction.prepare(UPSERT)?;
            let records = each(file, &mut |order| {
                let Order { id, updated_at, amount, name, note } = order;
                upsert.execute((id, updated_at, amount, name, note))?;
                Ok(())
            })?;
            drop(upsert);
            transaction.commit()?;
            records
        }
        _ => return Err("floor parse FILE | floor sqlite FILE DATABASE".into()),
    };
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a program that prints a figure")]
    {
        println!("{records} records in {seconds:.2} s: {:.0} records/s", records as f64 / seconds);
    }
    Ok(())
}

/// Takes a record.
type Take<'t> = dyn FnMut(Order<'_>) -> Result<(), Box<dyn Error>> + 't;

fn each(file: &str, take: &mut Take<'_>) -> Result<u64, Box<dyn Error>> {
    let mut from = BufReader::with_capacity(1 << 20, File::open(file)?);
    let (mut line, mut records) = (Vec::new(), 0);
    while from.read_until(b'\n', &mut line)? > 0 {
        take(serde_json::from_slice(&line)?)?;
        line.clear();
        records += 1;
    }
    Ok(records)
}
