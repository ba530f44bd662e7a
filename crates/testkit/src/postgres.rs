//! A PostgreSQL server for tests: real, empty, and gone when the tests are.
//!
//! The server is the child of a small shell that ends it, and removes its data, as soon as its standard input is at its
//! end: when the [`PostgresServer`] is dropped, and also when the test's process is gone, however it ended.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server of its own, on a socket and on a port of 127.0.0.1; the superuser is `cairn`, without a password. The role
/// `locked` has the password `right`. TLS is offered with a certificate for `localhost` that signs itself.
pub struct PostgresServer {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    keeper: Child,
}

/// How long a server may take to answer first: it takes a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the server in `$1` with the program `$2` until standard input ends. At each line of it the server is ended, which is
/// told, and started again. It answers no signal, so that it is always there to clean up.
const KEEPER: &str = r#"
trap '' INT TERM HUP PIPE
cd "$1" || exit 1
start() {
  "$2" -D "$1/data" >>log 2>&1 &
  server=$!
}
end() {
  kill -QUIT $server 2>/dev/null
  wait $server
}
start "$@"
while read -r _; do
  end
  echo ended
  start "$@"
done
end
cd / && rm -rf "$1"
"#;

/// What the certificate says: without the first line of `v3` it would be an authority's, which no server may show.
const CERTIFICATE: &str = "[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN=localhost\n[v3]\n\
    basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n";

const ACCESS: &str =
    "local all all trust\nhost all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";

impl PostgresServer {
    /// Starts a server, with `settings` as lines of its `postgresql.conf`.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed: tests that need it must not pass without it.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, None)
    }

    /// The same, with its log of transactions in the empty folder `log`, in segments of 1 MiB.
    pub fn start_with_log_in(log: &Path, settings: &[&str]) -> Self {
        Self::start_with(settings, Some(log))
    }

    fn start_with(settings: &[&str], log: Option<&Path>) -> Self {
        let bin = programs();
        let user = Account::of_server();
        let folder = tempfile::Builder::new()
            .prefix("cairn-pg-")
            .tempdir_in("/tmp")
            .expect("a temporary folder")
            .keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("permissions");
        user.give(&folder);
        let port = free_port();
        let data = folder.join("data");
        let mut initdb = user.command(&bin.join("initdb"));
        initdb.arg("-D").arg(&data);
        if let Some(log) = log {
            user.give(log);
            initdb.args(["--wal-segsize", "1", "--waldir"]).arg(log);
        }
        run(initdb.args([
            "-U",
            "cairn",
            "-A",
            "trust",
            "--no-sync",
            "--locale=C",
            "-E",
            "UTF8",
            "--no-instructions",
        ]));
        let certificate = folder.join("certificate.cnf");
        fs::write(&certificate, CERTIFICATE).expect("a file");
        let mut openssl = user.command(Path::new("openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ]);
        openssl.arg("-config").arg(&certificate);
        run(openssl.arg("-keyout").arg(data.join("server.key")).arg("-out").arg(data.join("server.crt")));
        fs::write(data.join("pg_hba.conf"), ACCESS).expect("a file");
        let mut file =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("a file");
        let place = format!("unix_socket_directories = '{}'\nport = {port}", folder.display());
        let fixed = "listen_addresses = '127.0.0.1'\nmax_connections = 100\nmax_prepared_transactions = 64\n\
            shared_buffers = 64MB\nfsync = off\nfull_page_writes = off\nssl = on\n";
        writeln!(file, "{fixed}{place}\n{}", settings.join("\n")).expect("a file");
        let mut keeper = user.command(Path::new("sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(bin.join("postgres"));
        // A group of its own: Ctrl-C on the tests must not end the one who cleans up.
        let keeper =
            keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().expect("a shell");
        let server = Self { folder, bin, port, keeper };
        server.wait();
        server.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
        server
    }

    fn wait(&self) {
        let start = Instant::now();
        loop {
            let ready = Command::new(self.bin.join("pg_isready"))
                .arg("-h")
                .arg(&self.folder)
                .args(["-p", &self.port.to_string(), "-q"])
                .status()
                .expect("pg_isready");
            if ready.success() {
                return;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(start.elapsed() < START_TIMEOUT, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server, if it has not ended by itself, and starts it again.
    pub fn restart(&mut self) {
        let keeper = self.keeper.stdin.as_mut().expect("it is taken at the end alone");
        keeper.write_all(b"\n").expect("the keeper reads until the end");
        let said = self.keeper.stdout.as_mut().expect("it is piped");
        said.read_exact(&mut [0; b"ended\n".len()]).expect("the keeper says when the server has ended");
        self.wait();
    }

    /// Makes a database and returns its URL on 127.0.0.1, without TLS.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        format!("postgres://cairn@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of the socket.
    pub fn socket(&self) -> &Path {
        &self.folder
    }

    /// Returns the certificate that the server shows.
    pub fn certificate(&self) -> PathBuf {
        // The data folder is the server's own user's alone.
        let copy = self.folder.join("server.crt");
        fs::copy(self.folder.join("data/server.crt"), &copy).expect("a copy");
        copy
    }

    /// Runs SQL and returns the rows, a line each, values separated by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "cairn", "-d", database, "-c", sql])
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string()])
            .output()
            .expect("psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Returns the folder of the newest server's programs.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut versions: Vec<PathBuf> = debian.collect();
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions.sort_by_key(version);
    let newest_first = versions.into_iter().rev().map(|version| version.join("bin"));
    newest_first.chain(std::env::split_paths(&on_path)).find(|folder| folder.join("initdb").is_file()).expect(
        "these tests need a PostgreSQL server: run `scripts/install-deps`, or install the package `postgresql`",
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Who runs the server: it refuses to be root.
enum Account {
    Same,
    Other { user: u32, group: u32 },
}

impl Account {
    fn of_server() -> Self {
        let id = |arguments: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(arguments).output().expect("id");
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        if id(&["-u"]) != Some(0) {
            return Self::Same;
        }
        match (id(&["-u", "postgres"]), id(&["-g", "postgres"])) {
            (Some(user), Some(group)) => Self::Other { user, group },
            _ => panic!(
                "PostgreSQL does not run as root, and there is no user `postgres`: run `scripts/install-deps`"
            ),
        }
    }

    fn give(&self, folder: &Path) {
        if let Self::Other { user, group } = self {
            chown(folder, Some(*user), Some(*group)).expect("to give the folder away");
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::Same => Command::new(program),
            Self::Other { user, group } => {
                let mut command = Command::new("setpriv");
                command.args([
                    format!("--reuid={user}"),
                    format!("--regid={group}"),
                    "--clear-groups".to_owned(),
                ]);
                command.arg(program);
                command
            }
        };
        command.current_dir("/");
        command
    }
}
