//! I5 under fire: cairn, its workers and its connections are killed at random moments of a load, over and over, and in the
//! end the sinks hold what a plain account says.
//!
//! Each round adds a file of messy records (repeated, late, changed, broken), starts the load, kills something at some
//! moment, and then lets a run go to its end. The moments come from a seed, which a failure names; `CAIRN_SEED` sets it.
//! `CAIRN_PROOF=1` takes many more rounds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_testkit::{PostgresServer, Project, processes_with};
use rusqlite::Connection;
use serde_json::Value;

use super::BINARY;

const RECORDS: u32 = 1500;

/// Numbers from a seed, by "split mix 64".
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Cairn,
    Worker,
    Connection,
}

#[derive(Default)]
struct Account {
    newest: BTreeMap<u64, (u64, String, usize, String)>,
    dead: BTreeSet<String>,
    deliveries: usize,
}

impl Account {
    /// Makes a file of records and takes them into the account.
    fn file(&mut self, name: &str, draw: &mut Draw, with_worker: bool) -> String {
        let mut text = String::new();
        let before: BTreeMap<u64, String> =
            self.newest.iter().map(|(id, newest)| (*id, newest.3.clone())).collect();
        for ordinal in 0..RECORDS as usize {
            let (id, version, x) = (draw.below(u64::from(RECORDS / 2)), draw.below(6), draw.below(4));
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

struct Scene<'s> {
    project: Project,
    sinks: &'s [&'s str],
    worker: bool,
    postgres: &'s PostgresServer,
    database: &'s str,
    server: Server,
}

impl<'s> Scene<'s> {
    fn new(postgres: &'s PostgresServer, database: &'s str, sinks: &'s [&'s str], worker: bool) -> Self {
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
        Self { project, sinks, worker, postgres, database, server }
    }

    fn kill(&self, victim: Victim, run: &mut std::process::Child) {
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
                    self.postgres.sql(self.database, &select) + "\n"
                }
            };
            assert!(
                held == expected,
                "{at}: {sink} holds other records: {}",
                first_difference(&held, &expected)
            );
        }
        let prepared = self.postgres.sql(self.database, "SELECT count(*) FROM pg_prepared_xacts");
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

    fn processes(&self) -> Vec<u32> {
        processes_with(&self.project.path().to_string_lossy())
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

/// Returns how many kills met a run that was under way.
fn storm(scene: &Scene<'_>, victims: &[Victim], kills: u64, seed: u64) -> u64 {
    let (mut draw, mut account, mut met) = (Draw(seed), Account::default(), 0);
    let mut took = Duration::from_millis(800);
    for round in 0..kills.div_ceil(2) {
        let name = format!("in/{round:03}.jsonl");
        scene.project.write(&name, account.file(&name, &mut draw, scene.worker));
        for _ in 0..2 {
            let victim = victims[usize::try_from(draw.below(victims.len() as u64)).unwrap()];
            let after = Duration::from_micros(draw.below(u64::try_from(took.as_micros()).unwrap() + 1));
            let mut run = scene.project.start(&["run"]);
            sleep(after);
            met += u64::from(run.try_wait().unwrap().is_none());
            scene.kill(victim, &mut run);
            run.wait().unwrap();
        }
        let at = format!("{:?}, seed {seed}, round {round}", scene.sinks);
        let start = Instant::now();
        let outcome = scene.project.cairn(&["run"]);
        assert_eq!(outcome.status, Some(0), "{at}: {}", outcome.shown());
        // Half of a whole load on average: the others had a part of it.
        took = (took / 2 + start.elapsed()).clamp(Duration::from_millis(200), Duration::from_secs(4));
        scene.check(&account, &at);
        let requests = scene.requests();
        assert_eq!(super::run(&scene.project, &[]), "load=FRESH", "{at}");
        assert_eq!(scene.requests(), requests, "{at}: a further run delivered something");
        assert_eq!(scene.processes(), Vec::<u32>::new(), "{at}: processes are left");
    }
    met
}

fn kills(normally: u64) -> u64 {
    if std::env::var_os("CAIRN_PROOF").is_some() { normally * 10 } else { normally }
}

fn seed(number: u64) -> u64 {
    let seed = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or(20_260_000 + number)
}

#[test]
fn one_sink_of_each_kind_holds_each_record_once_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let mut met = 0;
    for (number, sink) in ["sqlite", "t", "http", "jsonl"].iter().enumerate() {
        let sinks = [*sink];
        let database = format!("one{number}");
        let scene = Scene::new(&postgres, &database, &sinks, false);
        let victims = if *sink == "t" { &[Victim::Cairn, Victim::Connection][..] } else { &[Victim::Cairn] };
        met += storm(&scene, victims, kills(6), seed(number as u64));
    }
    // A busy machine moves the moments about: what counts is that some met a run.
    assert!(met > kills(6) / 2, "kills must meet runs that are under way: {met}");
}

#[test]
fn all_sinks_at_once_behind_a_worker_hold_each_record_once_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let scene = Scene::new(&postgres, "all", &["sqlite", "t", "http", "jsonl"], true);
    let victims = [Victim::Cairn, Victim::Worker, Victim::Connection];
    let met = storm(&scene, &victims, kills(8), seed(10));
    assert!(met > kills(8) / 4, "kills must meet runs that are under way: {met}");
}

#[test]
fn two_tables_that_commit_together_hold_the_same_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let scene = Scene::new(&postgres, "two", &["first", "second"], false);
    let met = storm(&scene, &[Victim::Cairn, Victim::Connection], kills(8), seed(20));
    assert!(met > kills(8) / 4, "kills must meet runs that are under way: {met}");
}
