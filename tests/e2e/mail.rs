//! Mail about runs: by the real binary, to a server that takes it, puts it off, refuses it, is not there, or is left in the
//! middle when the daemon is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_testkit::Project;
use serde_json::json;

use super::BINARY;
use super::daemon::{Daemon, until};

/// What the server does in one conversation.
#[derive(Clone, Copy)]
enum Does {
    /// It takes the mail.
    Takes,
    /// It answers the line that begins so with this; `.` is the end of a mail.
    Answers(&'static str, &'static str),
    /// It has the whole mail, and says no more.
    FallsSilent,
}

#[derive(Default)]
struct Seen {
    conversations: usize,
    /// Mails that came whole, whatever was answered, each with the address that it went to.
    whole: Vec<(String, String)>,
    /// Of them those that were taken.
    taken: usize,
    logins: Vec<String>,
}

/// A server for mail on a port of its own. What it does in each conversation is said before; later ones take the mail.
#[derive(Clone)]
struct Post {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Post {
    fn open(does: &'static [Does]) -> Self {
        Self::open_at(TcpListener::bind("127.0.0.1:0").unwrap(), does)
    }

    fn open_at(listener: TcpListener, does: &'static [Does]) -> Self {
        let post = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let seen = Arc::clone(&post.seen);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (seen, does) = (Arc::clone(&seen), does.get(number).copied().unwrap_or(Does::Takes));
                seen.lock().unwrap().conversations += 1;
                // One that is left in the middle ends as it does.
                std::thread::spawn(move || converse(stream?, does, &seen));
            }
        });
        post
    }

    fn whole(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().whole.clone()
    }

    fn taken(&self) -> usize {
        self.seen.lock().unwrap().taken
    }

    fn conversations(&self) -> usize {
        self.seen.lock().unwrap().conversations
    }
}

fn converse(stream: TcpStream, does: Does, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut say = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    say.write_all(b"220 post.example\r\n")?;
    let (mut mail, mut to) = (None::<String>, String::new());
    while let Some(line) = lines.next().transpose()? {
        if let Some(text) = &mut mail {
            if line != "." {
                text.extend([line.strip_prefix('.').unwrap_or(&line), "\n"]);
                continue;
            }
            seen.lock().unwrap().whole.push((to.clone(), std::mem::take(text)));
            mail = None;
        }
        let mut answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-post.example\r\n250-AUTH PLAIN\r\n250 8BITMIME",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        match does {
            Does::Answers(to, with) if line.starts_with(to) => answer = with,
            Does::FallsSilent if line == "." => {
                // Until who spoke to it is gone.
                let _ = lines.next();
                return Ok(());
            }
            Does::Takes | Does::Answers(..) | Does::FallsSilent => {}
        }
        if line.starts_with("AUTH") {
            seen.lock().unwrap().logins.push(line.clone());
        } else if let Some(address) = line.strip_prefix("RCPT TO:") {
            address.trim_matches(['<', '>']).clone_into(&mut to);
        } else if line == "DATA" && answer.starts_with("354") {
            mail = Some(String::new());
        } else if line == "." && answer.starts_with("250") {
            seen.lock().unwrap().taken += 1;
        }
        say.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// `fickle` fails unless `good` is there.
fn project(mail: &str) -> Project {
    let project = Project::new(BINARY);
    let outside = project.path().display();
    project.write(
        "fickle.toml",
        format!("[stages.a]\nrun = 'test -e {outside}/good && echo d > d.txt'\noutputs = ['d.txt']\n"),
    );
    project.write(
        "cairn.toml",
        format!(
            "pipelines = ['fickle.toml']\n[serve]\nurl = 'https://etl.example/'\n[notify.mail]\n\
             from = 'Cäirn <cairn@a.example>'\n{mail}"
        ),
    );
    project
}

fn to_me(port: u16) -> Project {
    project(&format!("to = 'me@a.example'\nserver = 'smtp://127.0.0.1:{port}'\n"))
}

fn fail(daemon: &Daemon) -> String {
    let run = daemon.submit("fickle", &json!({}));
    daemon.until_status(&run, "failed");
    run
}

fn waiting(daemon: &Daemon) -> usize {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        daemon.token
    );
    let text = daemon.raw(request.as_bytes());
    let line = text.lines().find_map(|line| line.strip_prefix("cairn_outbox_waiting "));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Returns a field of a mail's head.
#[track_caller]
fn field(mail: &str, name: &str) -> String {
    let (head, _) = mail.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
    assert_eq!(lines.len(), 1, "`{name}` in {head}");
    lines[0].to_owned()
}

#[test]
fn a_failure_is_told_once_to_each_with_all_that_matters() {
    let post = Post::open(&[]);
    let mail =
        format!("to = ['Me <me@a.example>', 'you@b.example']\nserver = 'smtp://localhost:{}'\n", post.port);
    let project = project(&mail);
    let daemon = Daemon::start(&project);
    let run = fail(&daemon);
    until("two mails", || post.taken() == 2 && waiting(&daemon) == 0);
    project.write("good", "");
    let next = daemon.submit("fickle", &json!({}));
    daemon.until_status(&next, "succeeded");
    until("two more", || post.taken() == 4 && waiting(&daemon) == 0);
    // Longer than the outbox takes to look again.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((post.conversations(), post.whole().len()), (4, 4));

    let whole = post.whole();
    let of = |address: &str, number: usize| {
        whole.iter().filter(|(to, _)| to == address).nth(number).map(|(_, mail)| mail.clone()).unwrap()
    };
    let (mine, yours) = (of("me@a.example", 0), of("you@b.example", 0));
    assert_eq!(field(&mine, "To"), "Me <me@a.example>");
    assert_eq!(field(&yours, "To"), "you@b.example");
    assert!(
        field(&mine, "From").starts_with("=?utf-8?") && field(&mine, "From").ends_with(" <cairn@a.example>")
    );
    assert!(field(&mine, "Subject").starts_with("cairn: fickle failed (run "), "{mine}");
    assert_eq!(field(&mine, "Auto-Submitted"), "auto-generated");
    assert!(field(&mine, "Content-Type").starts_with("text/plain"));
    let id = field(&mine, "Message-ID");
    assert!(
        id.starts_with("<cairn.") && id.ends_with("@a.example>") && id != field(&yours, "Message-ID"),
        "{id}"
    );
    let (_, body) = mine.split_once("\n\n").unwrap();
    for part in
        ["`fickle` failed", "\na: ", &run, "status        failed", &format!("https://etl.example/runs/{run}")]
    {
        assert!(body.contains(part), "{part} in {body}");
    }
    assert!(field(&of("me@a.example", 1), "Subject").starts_with("cairn: fickle succeeds again"));
}

#[test]
fn what_is_put_off_is_sent_again_as_the_same_mail() {
    let post = Post::open(&[
        Does::Answers("RCPT", "451 greylisted"),
        Does::Answers(".", "452 no room"),
        Does::Answers("EHLO", "554 not today"),
    ]);
    let project = to_me(post.port);
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("the mail", || post.taken() == 1 && waiting(&daemon) == 0);
    let whole = post.whole();
    assert_eq!((post.conversations(), whole.len()), (4, 2));
    assert_eq!(whole[0], whole[1], "`Message-ID` and `Date` too");
}

#[test]
fn what_is_refused_for_good_is_given_up() {
    let post =
        Post::open(&[Does::Answers("RCPT", "550 nobody of that name"), Does::Answers(".", "554 spam")]);
    let mail = format!(
        "to = ['me@a.example', 'you@a.example', 'all@a.example']\nserver = 'smtp://localhost:{}'\n",
        post.port
    );
    let project = project(&mail);
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("the mail", || post.taken() == 1 && waiting(&daemon) == 0);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        (post.conversations(), post.taken()),
        (3, 1),
        "one that is refused keeps none from the others"
    );
}

#[test]
fn a_server_that_is_down_is_told_when_it_is_up_by_the_next_daemon_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap().port();
    drop(listener);
    let project = to_me(free);
    let daemon = Daemon::start(&project);
    fail(&daemon);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(waiting(&daemon), 1);
    daemon.kill();
    let daemon = Daemon::start(&project);
    assert_eq!(waiting(&daemon), 1);
    let post = Post::open_at(TcpListener::bind(("127.0.0.1", free)).unwrap(), &[]);
    until("the mail", || post.taken() == 1 && waiting(&daemon) == 0);
    assert_eq!(post.conversations(), 1);
}

#[test]
fn killed_while_the_server_has_the_mail_it_is_sent_again_under_the_same_id() {
    let post = Post::open(&[Does::FallsSilent]);
    let project = to_me(post.port);
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("the whole mail", || post.whole().len() == 1);
    daemon.kill();
    assert_eq!(post.taken(), 0);
    let daemon = Daemon::start(&project);
    until("it again", || post.taken() == 1 && waiting(&daemon) == 0);
    let whole = post.whole();
    assert_eq!((whole.len(), post.conversations()), (2, 2));
    assert_eq!(field(&whole[0].1, "Message-ID"), field(&whole[1].1, "Message-ID"));
}

#[test]
fn a_password_is_mended_in_its_file_and_is_nowhere_else() {
    let (wrong, right) = ("hunter2hunter2", "correct-horse");
    let post =
        Post::open(&[Does::Answers("AUTH", "535 hunter2hunter2 is no good, AGNhaXJuAGh1bnRlcjJodW50ZXIy")]);
    let project = project(&format!(
        "to = 'me@a.example'\nserver = 'smtp://cairn@127.0.0.1:{}'\npassword_file = 'secret/smtp'\nstarttls = 'never'\n",
        post.port
    ));
    let refused = project.cairn(&["serve", "--no-port"]).expect(2);
    assert!(
        refused.stderr.contains("secret/smtp") && refused.stderr.contains("help: "),
        "{}",
        refused.shown()
    );

    project.write("secret/smtp", format!("{wrong}\n"));
    let log = std::fs::File::create(project.file("log.txt")).unwrap();
    let mut command = project.command(&["serve", "--bind", "127.0.0.1:0"]);
    let child = command.env("CAIRN_LOG", "trace").stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon::of(child, &project);
    fail(&daemon);
    until("the refusal", || project.read("log.txt").contains("does not let `cairn` log in"));
    project.write("secret/smtp", format!("{right}\n"));
    until("the mail", || post.taken() == 1 && waiting(&daemon) == 0);
    // PLAIN: a zero byte, the user, a zero byte, the password.
    let logins = post.seen.lock().unwrap().logins.clone();
    assert_eq!(
        logins,
        ["AUTH PLAIN AGNhaXJuAGh1bnRlcjJodW50ZXIy", "AUTH PLAIN AGNhaXJuAGNvcnJlY3QtaG9yc2U="]
    );
    daemon.stop();
    let found = std::process::Command::new("grep")
        .args(["-rlaE", &format!("{wrong}|{right}|AGNhaXJuAG")])
        .arg(project.path())
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.trim(), project.file("secret/smtp").display().to_string(), "nowhere but in the file");
}

#[test]
fn a_server_that_lets_nobody_in_is_asked_once_for_all_mails() {
    let refuses = Does::Answers("AUTH", "535 no");
    let post = Post::open(Box::leak(Box::new([refuses; 3])));
    let mut project = project(&format!(
        "to = ['a@a.example', 'b@a.example', 'c@a.example', 'd@a.example']\nserver = 'smtp://cairn@127.0.0.1:{}'\n\
         password_env = 'SMTP_PASSWORD'\nstarttls = 'never'\n",
        post.port
    ));
    project.set_env("SMTP_PASSWORD", "correct-horse");
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("the second login", || post.conversations() >= 2);
    // The next is after two seconds.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((post.conversations(), post.taken(), waiting(&daemon)), (2, 0, 4));
    until("the mails", || post.taken() == 4 && waiting(&daemon) == 0);
    assert_eq!(post.conversations(), 3 + 4);
}

#[test]
fn a_sender_that_is_to_log_in_first_is_no_word_about_the_mail() {
    let post = Post::open(&[
        Does::Answers("MAIL", "530 log in first"),
        Does::Answers("MAIL", "550 5.7.1 not from there"),
        Does::Answers("RCPT", "550 5.7.1 no relay"),
    ]);
    let project = to_me(post.port);
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("its end", || post.conversations() == 3 && waiting(&daemon) == 0);
    assert_eq!(post.taken(), 0, "to the recipient it is");
}

#[test]
fn the_variable_of_the_password_is_handed_to_no_command() {
    let post = Post::open(&[]);
    let mut project = project(&format!(
        "to = 'me@a.example'\nserver = 'smtp://cairn@127.0.0.1:{}'\npassword_env = 'SMTP_PASSWORD'\nstarttls = 'never'\n\
         [notify]\ncommand = ['sh', '-c', 'env > told.txt']\n",
        post.port
    ));
    let outside = project.path().display().to_string();
    project.write(
        "fickle.toml",
        format!(
            "[schedule]\nsensors = [{{ command = 'env > {outside}/sensor.txt; echo 1' }}]\n\
             [stages.a]\nrun = 'env > {outside}/stage.txt; false'\noutputs = []\n\
             pass_env = ['SMTP_PASSWORD', 'OTHER']\n"
        ),
    );
    project.set_env("SMTP_PASSWORD", "correct-horse");
    project.set_env("OTHER", "battery");
    let daemon = Daemon::start(&project);
    fail(&daemon);
    until("the mail", || post.taken() >= 1);
    for file in ["told.txt", "sensor.txt", "stage.txt"] {
        until(file, || project.exists(file) && project.read(file).contains("battery"));
        let env = project.read(file);
        assert!(!env.contains("SMTP_PASSWORD") && !env.contains("correct-horse"), "{file}: {env}");
    }
}

#[test]
fn a_file_of_certificates_that_holds_none_is_told_at_the_start() {
    for (file, says) in [("fickle.toml", "holds none"), ("none.pem", "cannot be read")] {
        let project =
            project(&format!("to = 'me@a.example'\nserver = 'smtp://localhost'\nca_file = '{file}'\n"));
        let refused = project.cairn(&["serve", "--no-port"]).expect(2);
        let said = &refused.stderr;
        assert!(said.contains(file) && said.contains(says) && said.contains("help: "), "{}", refused.shown());
    }
}

/// A server that speaks TLS: `smtps` from the first byte, `starttls` when it is asked to. It writes down what it is told.
const ENCRYPTED: &str = r#"
import socket, ssl, sys, threading
mode = sys.argv[1]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("server.pem", "server.key")
listener = socket.create_server(("127.0.0.1", 0))
log = open(f"{mode}.log", "a", buffering=1)

def converse(stream):
    safe = mode == "smtps"
    if safe:
        stream = tls.wrap_socket(stream, server_side=True)
    lines, in_mail = stream.makefile("rb"), False
    stream.sendall(b"220 post.example\r\n")
    for line in iter(lambda: lines.readline(), b""):
        word = line.split()[0].decode() if line.split() else ""
        log.write(f"{'safe' if safe else 'clear'} {word}\n")
        if in_mail and word != ".":
            continue
        in_mail = word == "DATA"
        offer = b"250-AUTH PLAIN\r\n" if safe else b"250-STARTTLS\r\n"
        answers = {"EHLO": b"250-post.example\r\n" + offer + b"250 8BITMIME", "AUTH": b"235 fine", "DATA": b"354 go on"}
        stream.sendall(answers.get(word, b"250 fine") + b"\r\n" if word != "STARTTLS" else b"220 go on\r\n")
        if word == "STARTTLS":
            stream, safe = tls.wrap_socket(stream, server_side=True), True
            lines = stream.makefile("rb")

def ends_as_it_does(stream):
    try:
        converse(stream)
    except OSError as error:
        log.write(f"broken {type(error).__name__}\n")

with open(f"{mode}.port", "w") as port:
    port.write(f"{listener.getsockname()[1]}\n")
while True:
    threading.Thread(target=ends_as_it_does, args=(listener.accept()[0],), daemon=True).start()
"#;

/// A process that is killed when the test ends, however it does.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes an authority, and a certificate for `localhost` by it.
fn certify(project: &Project) {
    project.write("names", "subjectAltName=DNS:localhost\n").write("post.py", ENCRYPTED);
    let steps = [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ];
    for step in steps {
        let mut openssl = std::process::Command::new("openssl");
        let made = openssl.args(step.split(' ')).current_dir(project.path()).output().unwrap();
        assert!(made.status.success(), "{step}: {}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn what_is_said_to_a_server_with_a_password_is_encrypted_and_only_to_whom_it_believes() {
    for (mode, scheme) in [("smtps", "smtps"), ("starttls", "smtp")] {
        let mut project = project("");
        certify(&project);
        let mut python = std::process::Command::new("python3");
        let server = python.args(["post.py", mode]).current_dir(project.path()).spawn().unwrap();
        let server = Killed(server);
        let file = format!("{mode}.port");
        until("the server", || project.exists(&file) && project.read(&file).ends_with('\n'));
        let port = project.read(&file).trim().to_owned();
        let settings = format!(
            "{}to = 'me@a.example'\nserver = '{scheme}://cairn@localhost:{port}'\npassword_env = 'SMTP_PASSWORD'\n",
            project.read("cairn.toml")
        );
        project.write("cairn.toml", &settings);
        project.cairn(&["serve", "--no-port"]).expect(2);
        project.set_env("SMTP_PASSWORD", "correct-horse");
        let log = |project: &Project| {
            std::fs::read_to_string(project.file(&format!("{mode}.log"))).unwrap_or_default()
        };

        // Nobody whom it believes has vouched for this one.
        let daemon = Daemon::start(&project);
        fail(&daemon);
        until("a refusal", || log(&project).contains("broken"));
        assert!(waiting(&daemon) == 1 && !log(&project).contains("AUTH"), "{}", log(&project));
        daemon.kill();

        project.write("cairn.toml", format!("{settings}ca_file = 'ca.pem'\n"));
        let daemon = Daemon::start(&project);
        until("the mail", || waiting(&daemon) == 0);
        let log = log(&project);
        assert!(log.contains("safe AUTH\nsafe MAIL\nsafe RCPT\nsafe DATA\n"), "{log}");
        let clear: Vec<&str> = log.lines().filter(|line| line.starts_with("clear")).collect();
        assert!(clear.iter().all(|line| ["clear EHLO", "clear STARTTLS"].contains(line)), "{log}");
        drop(server);
    }
}
