//! Messy records, a plain account of what must become of them, and sinks of each kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_testkit::{PostgresServer, Project, processes_with};
use rusqlite::Connection;
use serde_json::Value;

use crate::BINARY;

/// Numbers from a seed, by "split mix 64".
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[usize::try_from(self.below(things.len() as u64)).unwrap()]
    }

    pub(crate) fn time_below(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap() + 1))
    }
}

/// A server that knows idempotency keys: a key that comes again is answered as before.
#[derive(Default)]
struct Seen {
    /// What came under each key.
    keys: HashMap<String, String>,
    rows: BTreeMap<u64, Value>,
    requests: usize,
    wrong: Option<String>,
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let seen = Arc::clone(&server.seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(client, &seen));
            }
        });
        server
    }
}

/// Answers requests of a connection until it ends; a client that is killed ends it anywhere.
fn serve(client: TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    let mut writer = client.try_clone().ok()?;
    let mut reader = BufReader::new(client);
    loop {
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                Some(("idempotency-key", value)) => value.clone_into(&mut key),
                Some(("content-length", value)) => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let drop_it = {
            let mut seen = seen.lock().unwrap();
            seen.requests += 1;
            match seen.keys.get(&key) {
                Some(before) if *before != body => {
                    seen.wrong = Some(format!("one key, two bodies: {before} {body}"));
                }
                Some(_) => {}
                None => {
                    let record: Value = serde_json::from_str(&body).ok()?;
                    seen.rows.insert(record["id"].as_u64()?, record);
                    seen.keys.insert(key, body);
                }
            }
            // Now and then the answer is lost on its way, although the record has come.
            seen.requests.is_multiple_of(301)
        };
        if drop_it {
            return None;
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").ok()?;
    }
}

/// What is to be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Cairn,
    Worker,
    Connection,
}

#[derive(Default)]
pub(crate) struct Account {
    newest: BTreeMap<u64, (u64, String, usize, String)>,
    dead: BTreeSet<String>,
    deliveries: usize,
    files: u64,
}

impl Account {
    /// Makes a file of records and takes them into the account.
    pub(crate) fn file(&mut self, name: &str, records: u32, draw: &mut Draw, with_worker: bool) -> String {
        let mut text = String::new();
        let before: BTreeMap<u64, String> =
            self.newest.iter().map(|(id, newest)| (*id, newest.3.clone())).collect();
        for ordinal in 0..records as usize {
            let (id, version, x) =
                (draw.below(u64::from(records / 2)), self.files + draw.below(6), draw.below(4));
            let line = match draw.below(100) {
                0 => format!("{{\"id\":{id},\"cut\":{}", draw.below(1 << 40)),
                1 => format!("{{\"v\":{version},\"x\":\"{}\"}}", draw.below(1 << 40)),
                2 if with_worker => {
                    format!("{{\"id\":{},\"v\":1,\"x\":\"poison\"}}", 1_000_000 + draw.below(1 << 40))
                }
                _ => {
                    let line = format!("{{\"id\":{id},\"v\":{version},\"x\":\"{x}\"}}");
                    let now = (version, name.to_owned(), ordinal, line.clone());
                    let newest = self.newest.entry(id).or_insert_with(|| now.clone());
                    if (newest.0, &newest.1, newest.2) <= (now.0, &now.1, now.2) {
                        *newest = now;
                    }
                    writeln!(text, "{line}").unwrap();
                    continue;
                }
            };
            writeln!(text, "{line}").unwrap();
            self.dead.insert(line);
        }
        // Versions go on: otherwise ever less changes from file to file, and the poison among it is an outage.
        self.files += 1;
        self.deliveries +=
            self.newest.iter().filter(|(id, newest)| before.get(id) != Some(&newest.3)).count();
        text
    }

    fn rows(&self) -> String {
        let rows = self.newest.iter().map(|(id, (version, _, _, line))| {
            let record: Value = serde_json::from_str(line).unwrap();
            format!("{id}|{version}|{}\n", record["x"].as_str().unwrap())
        });
        rows.collect()
    }
}

fn shown<'a>(records: impl Iterator<Item = &'a Value>) -> String {
    let mut rows: Vec<(u64, String)> = records
        .map(|record| {
            let id = record["id"].as_u64().unwrap();
            (id, format!("{id}|{}|{}\n", record["v"], record["x"].as_str().unwrap()))
        })
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(crate) struct Scene<'s> {
    pub(crate) project: Project,
    pub(crate) sinks: &'s [&'s str],
    pub(crate) worker: bool,
    postgres: &'s PostgresServer,
    database: String,
    server: Server,
}

impl<'s> Scene<'s> {
    pub(crate) fn new(
        postgres: &'s PostgresServer,
        database: &str,
        sinks: &'s [&'s str],
        worker: bool,
    ) -> Self {
        let mut project = Project::new(BINARY);
        project.set_env("DATABASE_URL", &postgres.database(database));
        let server = Server::start();
        let mut text =
            "[stages.load]\ninputs = [\"worker.py\"]\n[stages.load.records]\nsource = \"in/*.jsonl\"\n\
            key = [\"id\"]\nversion = \"v\"\nbatch = 100\nretries = { attempts = 4, delay = \"5ms\" }\n"
                .to_owned();
        if worker {
            text.push_str("worker = [\"python3\", \"worker.py\"]\nworkers = 2\n");
        }
        if sinks.contains(&"second") {
            text.push_str("commit = \"two-phase\"\n");
        }
        for sink in sinks {
            let keys = match *sink {
                "sqlite" => "type = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"".to_owned(),
                "jsonl" => "type = \"jsonl\"\npath = \"out.jsonl\"".to_owned(),
                "http" => format!("type = \"http\"\nurl = \"http://127.0.0.1:{}/\"", server.port),
                table => {
                    format!("type = \"postgres\"\nurl = \"{{{{ env.DATABASE_URL }}}}\"\ntable = \"{table}\"")
                }
            };
            writeln!(text, "[[stages.load.records.sink]]\n{keys}").unwrap();
        }
        project.write("pipeline.toml", text);
        project.write(
            "worker.py",
            "import json, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n    answer = {'key': request['key']}\n    \
             if request['record']['x'] == 'poison': answer |= {'error': 'poison', 'retry': False}\n    \
             else: answer['record'] = request['record']\n    print(json.dumps(answer), flush=True)\n",
        );
        Self { project, sinks, worker, postgres, database: database.to_owned(), server }
    }

    pub(crate) fn kill(&self, victim: Victim, run: &mut std::process::Child) {
        match victim {
            Victim::Cairn => {
                let group = rustix::process::Pid::from_child(run);
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            Victim::Worker => {
                let of_project = processes_with(&self.project.path().to_string_lossy());
                let worker = of_project.into_iter().find(|id| {
                    let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                    command.windows(9).any(|word| word == b"worker.py") && command.starts_with(b"python3")
                });
                let worker = worker.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
                worker.map(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL));
            }
            Victim::Connection => {
                let of = format!("datname = '{}' AND pid <> pg_backend_pid()", self.database);
                let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of}");
                self.postgres.sql("postgres", &kill);
            }
        }
    }

    /// Checks that nothing is left to be done, and that all is as the account says.
    pub(crate) fn is_settled(&self, account: &Account, at: &str) {
        self.check(account, at);
        let requests = self.requests();
        let again = self.project.outcomes(&["run", "--json"]);
        assert!(again.values().eq(["FRESH"]), "{at}: a further run: {again:?}");
        assert_eq!(self.requests(), requests, "{at}: a further run delivered something");
        assert_eq!(
            processes_with(&self.project.path().to_string_lossy()),
            Vec::<u32>::new(),
            "{at}: processes are left"
        );
    }

    fn check(&self, account: &Account, at: &str) {
        let expected = account.rows();
        for sink in self.sinks {
            let held = match *sink {
                "sqlite" => {
                    let connection = Connection::open(self.project.file("t.db")).unwrap();
                    let mut rows =
                        connection.prepare("SELECT id || '|' || v || '|' || x FROM t ORDER BY id").unwrap();
                    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
                    rows.map(|row| row.unwrap() + "\n").collect()
                }
                "jsonl" => {
                    let lines = self.project.read("out.jsonl");
                    let records: Vec<Value> =
                        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    shown(records.iter())
                }
                "http" => {
                    let seen = self.server.seen.lock().unwrap();
                    assert_eq!(seen.wrong, None, "{at}");
                    assert_eq!(seen.keys.len(), account.deliveries, "{at}: idempotency keys");
                    shown(seen.rows.values())
                }
                table => {
                    let select = format!("SELECT id, v, x FROM {table} ORDER BY id");
                    self.postgres.sql(&self.database, &select) + "\n"
                }
            };
            assert!(
                held == expected,
                "{at}: {sink} holds other records: {}",
                first_difference(&held, &expected)
            );
        }
        let prepared = self.postgres.sql(&self.database, "SELECT count(*) FROM pg_prepared_xacts");
        assert_eq!(prepared, "0", "{at}: prepared transactions");
        let letters = self.project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
        let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let payloads: BTreeSet<String> =
            letters.iter().map(|letter| letter["payload"].as_str().unwrap().to_owned()).collect();
        assert_eq!((payloads.len(), &payloads), (letters.len(), &account.dead), "{at}: dead letters");
    }

    fn requests(&self) -> usize {
        self.server.seen.lock().unwrap().requests
    }
}

fn first_difference(held: &str, expected: &str) -> String {
    let (mut held, mut expected) = (held.lines(), expected.lines());
    loop {
        let (left, right) = (held.next(), expected.next());
        if left != right || left.is_none() {
            return format!("{left:?}, not {right:?}");
        }
    }
}
