//! HTTP: each answer means what the documentation says, and a key is the same in each try.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cairn_model::{Address, SinkPlace};
use cairn_records::sink::{Delivered, Delivery, Sink, SinkError};
use cairn_testkit::web::{Reply, Request, Web, reply};

use crate::support::{Given, SCOPE, batch, delete, outage, put, refusal};

fn at(url: &str, method: &str, batched: bool) -> Given {
    let headers = BTreeMap::from([("Authorization".to_owned(), Address("Bearer ${SECRET}".to_owned()))]);
    Given::new(SinkPlace::Http { url: Address(url.to_owned()), method: method.to_owned(), batched, headers })
}

fn open(web: &Web, batched: bool) -> Box<dyn Sink> {
    at(&web.url(), "POST", batched).open(Path::new("/"))
}

fn deliver(sink: &mut dyn Sink, records: &[Delivery]) -> Result<Delivered, SinkError> {
    sink.deliver(&batch(1, records), records)
}

fn numbered(count: usize) -> Vec<Delivery> {
    (0..count).map(|id| put(&format!(r#"{{"id":{id}}}"#))).collect()
}

/// What was refused, as `INDEX ERROR` with `again`, and after how long, for what may be tried again.
fn refused(delivered: &Delivered) -> Vec<String> {
    let line = |fault: &cairn_records::sink::RecordFault| {
        let again = if fault.retry { " again" } else { "" };
        let after = fault.retry_after_ms.map(|millis| format!(" in {millis}")).unwrap_or_default();
        format!("{} {}{again}{after}", fault.index, fault.error)
    };
    delivered.refused.iter().map(line).collect()
}

#[test]
fn records_go_one_by_one_several_at_once_each_with_its_key() {
    let web = Web::start(|request: &Request| reply("201 Created", &format!("got {}", request.body)));
    let mut sink = open(&web, false);
    let mut records = numbered(100);
    records.push(delete(r#"{"id":7,"deleted":true}"#));
    let delivered = deliver(&mut *sink, &records).unwrap();
    assert!(delivered.refused.is_empty(), "{delivered:?}");
    assert_eq!(delivered.receipts.len(), 101);
    assert!(delivered.receipts.contains(&(7, r#"201 got {"id":7}"#.to_owned())), "{delivered:?}");
    let requests = web.requests();
    assert_eq!(requests.len(), 101);
    assert!((2..=8).contains(&web.most_at_once()), "{} at once", web.most_at_once());
    let key_of = |request: &Request| request.header("idempotency-key").unwrap().to_owned();
    for (record, id) in records.iter().zip(0..) {
        let body = String::from_utf8(record.record.to_vec()).unwrap();
        let request = requests.iter().find(|request| request.body == body).unwrap();
        assert_eq!(key_of(request), format!("\"{}\"", record.idempotency_key));
        assert_eq!(request.method, if id == 100 { "DELETE" } else { "POST" });
        assert_eq!(request.path, "/in");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some("Bearer hidden"));
    }
    // A second delivery: the same keys.
    deliver(&mut *sink, &records).unwrap();
    let keys: BTreeSet<String> = web.requests().iter().map(key_of).collect();
    assert_eq!((web.requests().len(), keys.len()), (202, 101));
    assert_eq!((sink.is_transactional(), sink.last_applied(SCOPE).unwrap()), (false, None));
    assert_eq!(sink.name(), format!("http POST `{}`", web.url()));
}

#[test]
fn each_status_means_what_it_says() {
    let web = Web::start(|request: &Request| {
        let id: usize = request.body[6..request.body.len() - 1].parse().unwrap();
        let answers = [
            "200 OK",
            "422 Unprocessable Content",
            "409 Conflict",
            "400 Bad Request",
            "500 Internal Server Error",
            "408 Request Timeout\r\nRetry-After: 3",
            "404 Not Found",
        ];
        reply(answers[id], &"because ".repeat(100))
    });
    let mut sink = open(&web, false);
    let reason = "because ".repeat(25);
    let expected = [
        format!("1 POST was answered by 422 Unprocessable Entity: {reason}"),
        format!("2 POST was answered by 409 Conflict: {reason} again"),
        format!("3 POST was answered by 400 Bad Request: {reason}"),
        format!("4 POST was answered by 500 Internal Server Error: {reason} again"),
        format!("5 POST was answered by 408 Request Timeout: {reason} again in 3000"),
    ];
    let delivered = deliver(&mut *sink, &numbered(6)).unwrap();
    assert_eq!(refused(&delivered), expected);
    let (index, receipt) = &delivered.receipts[0];
    assert_eq!((*index, receipt.len()), (0, 4 + 511), "the first 512 bytes, without the space at their end");
    // To all the same: it is the endpoint.
    let only = [put(r#"{"id":6}"#)];
    let (error, help) = refusal(deliver(&mut *sink, &only));
    assert!(error.starts_with("POST was answered by 404 Not Found"), "{error}");
    assert!(help.contains("url"), "{help}");
}

#[test]
fn a_busy_server_is_left_alone() {
    let web = Web::start(|request: &Request| match request.body.as_str() {
        r#"{"id":0}"# => reply("200 OK", ""),
        _ => reply(
            "429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:07 GMT",
            "",
        ),
    });
    let mut sink = open(&web, false);
    let delivered = deliver(&mut *sink, &numbered(100)).unwrap();
    assert_eq!(delivered.refused.len(), 99);
    assert!(
        delivered.refused.iter().all(|fault| fault.retry && fault.retry_after_ms == Some(30_000)),
        "{delivered:?}"
    );
    assert!(web.requests().len() < 20, "{} requests to a busy server", web.requests().len());
    let later = [put(r#"{"id":1}"#)];
    match deliver(&mut *sink, &later) {
        Err(SinkError::Unavailable { retry_after_ms: Some(30_000), error, .. }) => {
            assert!(error.contains("429"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_answer_is_an_outage_or_a_try_again() {
    let web = Web::start(
        |request: &Request| if request.body == r#"{"id":0}"# { reply("200 OK", "") } else { None },
    );
    let mut sink = open(&web, false);
    outage(deliver(&mut *sink, &[put(r#"{"id":1}"#)]));
    let delivered = deliver(&mut *sink, &numbered(2)).unwrap();
    assert_eq!((delivered.receipts.len(), delivered.refused.len()), (1, 1));
    assert!(delivered.refused[0].retry && delivered.refused[0].index == 1, "{delivered:?}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nobody = at(&format!("http://127.0.0.1:{closed}/"), "POST", false).open(Path::new("/"));
    let error = outage(deliver(&mut *nobody, &numbered(3)));
    assert!(error.to_lowercase().contains("refused"), "{error}");
    let mut nowhere = at("http://no-such-host.invalid/", "PUT", false).open(Path::new("/"));
    outage(deliver(&mut *nowhere, &numbered(3)));
}

#[test]
fn a_batch_is_one_request_under_one_key() {
    let web = Web::start(|request: &Request| reply("200 OK", &request.body.len().to_string()));
    let mut sink = open(&web, true);
    let records = [put(r#"{"id":1}"#), put(r#"{"id":2}"#), delete(r#"{"id":3,"deleted":true}"#)];
    for _ in 0..2 {
        let delivered = deliver(&mut *sink, &records).unwrap();
        assert_eq!(
            delivered,
            Delivered { refused: vec![], open: Vec::new(), receipts: vec![(0, "200 43".to_owned())] }
        );
    }
    let requests = web.requests();
    assert_eq!(requests[0].body, r#"[{"id":1},{"id":2},{"id":3,"deleted":true}]"#);
    let key = |request: &Request| request.header("idempotency-key").unwrap().to_owned();
    assert_eq!(key(&requests[0]), key(&requests[1]));
    // In another batch, as after an outage, it is the same request.
    sink.deliver(&batch(2, &records), &records).unwrap();
    // The rest of a batch, under its number: another request, so another key.
    sink.deliver(&batch(1, &records), &records[1..]).unwrap();
    let keys: BTreeSet<String> = web.requests().iter().map(key).collect();
    assert_eq!(keys.len(), 2);
}

#[test]
fn the_records_to_blame_are_found_in_a_batch() {
    let judge = |request: &Request| -> Reply {
        let bad = request.body.matches(r#""id":3}"#).count() + request.body.matches(r#""id":12}"#).count();
        if request.body.len() > 120 {
            reply("413 Content Too Large", "")
        } else if bad > 0 {
            reply("422 Unprocessable Content", "id")
        } else {
            reply("200 OK", &request.body)
        }
    };
    let web = Web::start(judge);
    let mut sink = open(&web, true);
    let delivered = deliver(&mut *sink, &numbered(20)).unwrap();
    assert_eq!(
        refused(&delivered),
        [3, 12].map(|id| format!("{id} POST was answered by 422 Unprocessable Entity: id"))
    );
    let taken: BTreeSet<String> = web
        .requests()
        .into_iter()
        .filter(|request| judge(request).unwrap().0 == "200 OK")
        .flat_map(|request| {
            let inner = request.body.trim_matches(['[', ']']).to_owned();
            inner.split("},").map(|part| format!("{}}}", part.trim_end_matches('}'))).collect::<Vec<_>>()
        })
        .collect();
    let expected = numbered(20).into_iter().map(|record| String::from_utf8(record.record.to_vec()).unwrap());
    assert_eq!(
        taken,
        expected.filter(|record| !record.contains(":3}") && !record.contains(":12}")).collect()
    );
    let all = web.requests().len();
    deliver(&mut *sink, &numbered(20)).unwrap();
    let keys: BTreeSet<String> =
        web.requests().iter().map(|r| r.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(
        (web.requests().len(), keys.len()),
        (2 * all, all),
        "each part has a key, the same in each try"
    );
}

#[test]
fn requests_of_which_nobody_knows_what_they_did_are_told_of() {
    // Of 16 the third is at fault; the part from 4 on is not answered, and what comes after it is not sent.
    let judge = |request: &Request| -> Reply {
        match (request.body.contains(r#""id":2}"#), request.body.starts_with(r#"[{"id":4}"#)) {
            (true, _) => reply("422 Unprocessable Content", "id"),
            (_, true) => None,
            _ => reply("200 OK", ""),
        }
    };
    let web = Web::start(judge);
    let mut sink = open(&web, true);
    let delivered = deliver(&mut *sink, &numbered(16)).unwrap();
    assert_eq!(delivered.open, vec![4..8]);
    let again: Vec<usize> =
        delivered.refused.iter().filter(|fault| fault.retry).map(|fault| fault.index).collect();
    assert_eq!(again, (4..16).collect::<Vec<_>>());
    // Two parts that ask for another try are two requests the next time.
    let judge = |request: &Request| -> Reply {
        let (first, last) = (request.body.contains(r#""id":0}"#), request.body.contains(r#""id":7}"#));
        match (first, last) {
            (true, true) => reply("400 Bad Request", ""),
            _ => reply("500 Internal Server Error", ""),
        }
    };
    let web = Web::start(judge);
    let delivered = deliver(&mut *open(&web, true), &numbered(8)).unwrap();
    assert_eq!(delivered.open, vec![0..4, 4..8]);
}

#[test]
fn a_server_in_trouble_is_not_there_however_it_says_so() {
    // One that only says 503 to some and 502 to others has dealt with none.
    let web = Web::start(|request: &Request| {
        let last = request.body.contains(r#""id":7}"#);
        reply(if last { "503 Service Unavailable" } else { "502 Bad Gateway" }, "")
    });
    let error = outage(deliver(&mut *open(&web, false), &numbered(8)));
    assert!(error.contains("503"), "{error}");
}

#[test]
fn parts_of_which_nobody_knows_what_they_did_are_told_of_though_the_server_went_away() {
    let web = Web::start(|request: &Request| {
        let (first, last) = (request.body.contains(r#""id":0}"#), request.body.contains(r#""id":3}"#));
        reply(
            match (first, last) {
                (true, true) => "422 Unprocessable Content",
                (true, false) => "500 Internal Server Error",
                _ => "503 Service Unavailable",
            },
            "",
        )
    });
    let delivered = deliver(&mut *open(&web, true), &numbered(4)).unwrap();
    assert_eq!(delivered.open, vec![0..2, 2..4]);
    assert_eq!(delivered.refused.len(), 4);
}

#[test]
fn what_is_gone_already_is_deleted() {
    for gone in ["404 Not Found", "410 Gone"] {
        let web = Web::start(move |_| reply(gone, "no such order"));
        let mut sink = open(&web, false);
        let delivered = deliver(&mut *sink, &[delete(r#"{"id":1,"deleted":true}"#)]).unwrap();
        assert!(delivered.refused.is_empty() && delivered.receipts.len() == 1, "{delivered:?}");
        let put = deliver(&mut *sink, &[put(r#"{"id":1}"#)]);
        assert!(
            put.is_err() || !put.unwrap().refused.is_empty(),
            "a record that is not taken is not delivered"
        );
    }
}

#[test]
fn each_method_is_sent() {
    for method in ["POST", "PUT", "PATCH"] {
        let web = Web::start(|_: &Request| reply("200 OK", ""));
        for batched in [false, true] {
            let mut sink = at(&web.url(), method, batched).open(Path::new("/"));
            assert!(deliver(&mut *sink, &numbered(1)).unwrap().refused.is_empty());
        }
        assert!(web.requests().iter().all(|request| request.method == method), "{method}");
    }
}

#[test]
fn what_is_no_endpoint_is_refused_without_telling_secrets() {
    let try_open = |url: &str, method: &str| at(url, method, false).try_open(Path::new("/"));
    for url in ["nonsense", "ftp://hidden@host/", "http://", "https://user:hid den@host/"] {
        let (error, help) = refusal(try_open(url, "POST"));
        assert!(!format!("{error}{help}").contains("hid"), "{error} {help}");
    }
    refusal(try_open("http://host/", "GET"));
    let sink = try_open("https://user:hidden@host:8443/in?token=hidden", "PUT").unwrap();
    assert_eq!(sink.name(), "http PUT `https://host:8443/in`");
    let mut given = at("http://host/", "POST", false);
    if let SinkPlace::Http { headers, .. } = &mut given.definition.place {
        headers.insert("X-Other".to_owned(), Address("${UNSET}".to_owned()));
    }
    let (error, help) = refusal(given.try_open(Path::new("/")));
    assert!(error.contains("`UNSET`") && help.contains("export UNSET"), "{error} {help}");

    let web = Web::start(|_: &Request| reply("308 Permanent Redirect\r\nLocation: https://elsewhere/", ""));
    let (error, _) = refusal(deliver(&mut *open(&web, false), &numbered(1)));
    assert_eq!(error, "POST was answered by 308 Permanent Redirect, to `https://elsewhere/`");
}
