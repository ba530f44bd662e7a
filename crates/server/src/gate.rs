//! Who may ask: the one gate that every request passes before it is routed.
//!
//! | what comes in | by the Unix socket | by TCP |
//! | --- | --- | --- |
//! | `Host` | any | a name of this machine's own, or one that was allowed: a page elsewhere cannot reach it by a name it owns |
//! | token | not asked for: the socket is the user's alone | in `Authorization: Bearer`, or in the cookie that `/login` gave |
//! | a request that changes something | as it is | `Origin`, where there is one, is the page's own; the body is JSON or a form |
//!
//! Without a token only [`PUBLIC`] answers.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use rand::RngExt as _;

use crate::api::Problem;
use crate::crowd::Standing;
use crate::daemon::lock;

/// Paths that answer without a token; the style sheet is for the page that says so.
pub const PUBLIC: [&str; 4] = ["/healthz", "/readyz", "/login", "/static/cairn.css"];

/// How the cookie's name begins. Browsers have one jar for all ports of a host: what follows tells the daemons of several
/// projects apart.
const COOKIE: &str = "cairn-session";
/// How long a login link can be used.
const LINK_LIVES: Duration = Duration::from_mins(10);
/// Login links that can be open at once.
const LINKS_MAX: usize = 64;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the socket in the state folder, which only its user can open.
    Socket,
    /// By TCP.
    Tcp,
}

/// Knows the token, and who may come.
#[derive(Debug)]
pub struct Gate {
    token: String,
    /// Names by which the daemon may be called beside the machine's own.
    hosts: Vec<String>,
    /// Name of the cookie.
    cookie: String,
    /// The address that it listens at, once it does.
    bound: OnceLock<IpAddr>,
    /// The oldest first.
    links: Mutex<Vec<(String, Instant)>>,
}

impl Gate {
    /// Lets in who knows `token`; `hosts` are names by which it may be called, beside those of the loopback.
    pub fn new(token: String, hosts: Vec<String>) -> Self {
        let cookie = format!("{COOKIE}-{}", &derived("cairn v1 cookie name", &token)[..16]);
        Self { token, hosts, cookie, bound: OnceLock::new(), links: Mutex::default() }
    }

    /// Has it be called by the address that it listens at as well.
    pub fn listens_at(&self, address: IpAddr) {
        // There is one port.
        let _ = self.bound.set(address);
    }

    /// Returns a word that `/login?code=` takes once, within ten minutes.
    pub fn login_code(&self) -> String {
        let code = random_hex();
        let mut links = lock(&self.links);
        links.retain(|(_, made)| made.elapsed() < LINK_LIVES);
        if links.len() >= LINKS_MAX {
            links.remove(0);
        }
        links.push((code.clone(), Instant::now()));
        code
    }

    /// Takes a login code, once; returns the cookie to set.
    pub(crate) fn login(&self, code: &str) -> Option<HeaderValue> {
        let made = {
            let mut links = lock(&self.links);
            let place = links.iter().position(|(link, _)| link == code)?;
            links.remove(place).1
        };
        (made.elapsed() < LINK_LIVES).then(|| {
            let cookie = format!(
                "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000",
                self.cookie,
                self.session()
            );
            HeaderValue::from_str(&cookie).expect("hexadecimal digits and ASCII words")
        })
    }

    /// The value of the cookie: it follows from the token and does not tell it.
    fn session(&self) -> String {
        derived("cairn v1 session", &self.token)
    }

    /// Returns whether a request brings the token, or the cookie that a login link gives.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if bearer.is_some_and(|token| equal(token, &self.token)) {
            return true;
        }
        let session = self.session();
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| {
            cookie
                .trim()
                .split_once('=')
                .is_some_and(|(name, value)| name == self.cookie && equal(value, &session))
        })
    }

    fn is_own(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
        });
        // No page elsewhere has an address for its name.
        let is_called = |address: IpAddr| {
            let bound = self.bound.get().filter(|bound| !bound.is_unspecified());
            address.is_loopback() || bound == Some(&address)
        };
        name == "localhost"
            || address(name).is_some_and(is_called)
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name) || own.eq_ignore_ascii_case(host))
    }
}

/// Reads an address as `Host` has it: one of version 6 in brackets.
fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok().filter(IpAddr::is_ipv4),
    }
}

/// Returns hexadecimal digits that follow from a token and do not tell it.
fn derived(purpose: &str, token: &str) -> String {
    hexadecimal(&blake3::derive_key(purpose, token.as_bytes()))
}

/// Compares in a time that does not tell how much is equal.
fn equal(one: &str, other: &str) -> bool {
    let digest = |text: &str| blake3::hash(text.as_bytes());
    // Comparing two of these hashes takes the same time always.
    digest(one) == digest(other)
}

/// Returns 32 random bytes in hexadecimal.
pub fn random_hex() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    hexadecimal(&bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lets a request pass, or answers it.
pub(crate) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let way = request.extensions().get::<Way>().copied().unwrap_or(Way::Tcp);
    let standing = request.extensions().get::<Arc<Standing>>().cloned();
    let mut response = match check(&gate, way, &request) {
        Ok(()) => next.run(request).await,
        Err(response) => *response,
    };
    let headers = response.headers_mut();
    if standing.is_some_and(|standing| !standing.is_known()) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

/// What a page may load: only what comes from here.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

fn check(gate: &Gate, way: Way, request: &Request) -> Result<(), Box<Response>> {
    let headers = request.headers();
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        // Who passes it on may go by another of them.
        return Err(Box::new(Problem::bad("there are several `Host`").into_response()));
    }
    if way == Way::Socket {
        return Ok(());
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    if !gate.is_own(host) {
        let problem = Problem::new(StatusCode::FORBIDDEN, "the name in `Host` is not one of this daemon's")
            .help("call it by `localhost`, or allow the name with `hosts` in `[serve]`");
        return Err(Box::new(problem.into_response()));
    }
    let path = request.uri().path();
    let is_known = gate.knows(headers);
    let standing = request.extensions().get::<Arc<Standing>>();
    if is_known && standing.is_some_and(|standing| !standing.become_known()) {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "there are too many connections");
        return Err(Box::new(
            problem.help("end some: each event stream that is followed is one").into_response(),
        ));
    }
    if !PUBLIC.contains(&path) && !is_known {
        // A person gets a page that says what to do; a program an answer that it can read.
        let wants_page = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
        if wants_page && request.method() == Method::GET {
            return Err(Box::new(Redirect::to("/login").into_response()));
        }
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "the token is missing, or is another one")
            .help("send `Authorization: Bearer TOKEN`; the token is in the file `token` of the state folder");
        let mut response = problem.into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(Box::new(response));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    if let Some(origin) = text(header::ORIGIN) {
        let same = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host));
        if !same {
            let problem = Problem::new(StatusCode::FORBIDDEN, "the request comes from a page elsewhere");
            return Err(Box::new(problem.into_response()));
        }
    }
    if text(HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| !["same-origin", "none"].contains(&site))
    {
        let problem = Problem::new(StatusCode::FORBIDDEN, "the request comes from a page elsewhere");
        return Err(Box::new(problem.into_response()));
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let has_body = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || headers.contains_key(header::TRANSFER_ENCODING);
    let form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    // A form can be sent by any page without asking first; the origin tells that it is ours.
    let allowed = kind.eq_ignore_ascii_case("application/json")
        || (form && text(header::ORIGIN).is_some())
        || (kind.is_empty() && !has_body);
    if !allowed {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not JSON")
            .help("send `Content-Type: application/json`");
        return Err(Box::new(problem.into_response()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_machine_itself_or_allowed_ones_are_own() {
        let gate = Gate::new("t".to_owned(), vec!["cairn.example".to_owned()]);
        for own in [
            "localhost",
            "localhost:8787",
            "127.0.0.1:1",
            "[::1]:8787",
            "[::1]",
            "CAIRN.example:80",
            "127.0.0.2:1",
        ] {
            assert!(gate.is_own(own), "{own}");
        }
        for foreign in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil:80", "localhost:80:80", "::1"]
        {
            assert!(!gate.is_own(foreign), "{foreign}");
        }
        assert!(!gate.is_own("192.168.1.2:80"));
        gate.listens_at("192.168.1.2".parse().unwrap());
        assert!(gate.is_own("192.168.1.2:80") && !gate.is_own("192.168.1.3:80"));
        let all = Gate::new("t".to_owned(), Vec::new());
        all.listens_at("0.0.0.0".parse().unwrap());
        assert!(all.is_own("127.0.0.1:80") && !all.is_own("0.0.0.0:80") && !all.is_own("192.168.1.2:80"));
    }

    #[test]
    fn every_code_that_is_told_can_be_used_until_so_many_came_after_it() {
        let gate = Gate::new("t".to_owned(), Vec::new());
        let codes: Vec<String> = (0..=LINKS_MAX).map(|_| gate.login_code()).collect();
        assert_eq!(gate.login(&codes[0]), None);
        assert!(codes[1..].iter().all(|code| gate.login(code).is_some()));
    }

    #[test]
    fn daemons_of_two_projects_do_not_log_each_other_out() {
        let (one, other) = (Gate::new("a".to_owned(), Vec::new()), Gate::new("b".to_owned(), Vec::new()));
        let name = |gate: &Gate| {
            let cookie = gate.login(&gate.login_code()).unwrap();
            cookie.to_str().unwrap().split('=').next().unwrap().to_owned()
        };
        assert_ne!(name(&one), name(&other));
        assert!(name(&one).starts_with(COOKIE));
    }

    #[test]
    fn a_code_logs_in_once_and_its_cookie_is_known() {
        let gate = Gate::new("t".to_owned(), Vec::new());
        let code = gate.login_code();
        let cookie = gate.login(&code).unwrap();
        assert_eq!(gate.login(&code), None);
        assert_eq!(gate.login("another"), None);
        let mut headers = HeaderMap::new();
        assert!(!gate.knows(&headers));
        headers.insert(
            header::COOKIE,
            HeaderValue::from_str(cookie.to_str().unwrap().split(';').next().unwrap()).unwrap(),
        );
        assert!(gate.knows(&headers));
        let wrong = format!("{}=x", gate.cookie);
        headers.insert(header::COOKIE, HeaderValue::from_str(&wrong).unwrap());
        assert!(!gate.knows(&headers));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer t"));
        assert!(gate.knows(&headers));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer tt"));
        assert!(!gate.knows(&headers));
    }
}
