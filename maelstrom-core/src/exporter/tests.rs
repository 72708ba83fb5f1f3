//! The server of metrics, asked over HTTP on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::metrics::{Metric, Recorder};

static CALLED: Metric = Metric::counter("test_called_total", &["peer"], "Calls.");
static TIMES: Metric = Metric::histogram("test_seconds", &[], &[0.5, 2.0], "Times.");

fn snapshot() -> Snapshot {
    let mut recorder = Recorder::default();
    recorder.record(false, &[&[&TIMES]]);
    recorder.count(&CALLED, &["a\"b\nc"], 3);
    recorder.observe(&TIMES, &[], 1.0);
    recorder.observe(&TIMES, &[], 4.0);
    recorder.snapshot(Default::default()).unwrap()
}

/// Starts a server, and a loop that answers its requests.
async fn start(is_ready: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ask, asked) = mpsc::channel(CONNECTIONS_MAX);
    let server = Some(tokio::spawn(serve(listener, ask)));
    let mut exporter = Exporter { asked: Some(asked), server };
    let node = tokio::spawn(async move {
        loop {
            exporter.asked().await.answer(is_ready, snapshot());
        }
    });
    (addr, node)
}

async fn request(addr: SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).await.unwrap();
    reply
}

async fn get(addr: SocketAddr, path: &str) -> String {
    request(addr, &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")).await
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (addr, _node) = start(true).await;
    let reply = get(addr, "/metrics").await;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    for line in [
        "# HELP test_called_total Calls.",
        "# TYPE test_called_total counter",
        r#"test_called_total{peer="a\"b\nc"} 3"#,
        "# TYPE test_seconds histogram",
        r#"test_seconds_bucket{le="0.5"} 0"#,
        r#"test_seconds_bucket{le="2"} 1"#,
        r#"test_seconds_bucket{le="+Inf"} 2"#,
        "test_seconds_sum 5",
        "test_seconds_count 2",
        "maelstrom_calls_open 0",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
}

#[tokio::test]
async fn health_tells_a_live_node_from_a_ready_one() {
    for (is_ready, path, status) in [
        (true, "/health", OK),
        (true, "/health/ready?verbose", OK),
        (false, "/health", UNAVAILABLE),
        (false, "/health/ready", UNAVAILABLE),
        (false, "/health/live", OK),
    ] {
        let (addr, _node) = start(is_ready).await;
        let reply = get(addr, path).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {reply}");
        let body = format!("{{\"live\":true,\"ready\":{is_ready}}}\n");
        assert!(reply.ends_with(&body), "{path}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_loop_stands_still_is_not_alive() {
    let (ask, _asked) = mpsc::channel(CONNECTIONS_MAX);
    for path in ["/metrics", "/health", "/health/live", "/health/ready"] {
        let head = format!("GET {path} HTTP/1.1\r\n\r\n");
        assert_eq!(reply_to(head.as_bytes(), &ask).await.status, UNAVAILABLE, "{path}");
    }
}

#[tokio::test]
async fn anything_but_a_get_of_a_known_path_is_refused() {
    let (addr, _node) = start(true).await;
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\n\r\n", 405),
        ("GET /metrics\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1 more\r\n\r\n", 400),
        ("\r\n\r\n", 400),
    ] {
        let reply = request(addr, text).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {reply}");
    }
    let head = request(addr, "HEAD /health HTTP/1.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_request_without_end_is_refused() {
    let (addr, _node) = start(true).await;
    let long = "x".repeat(HEAD_BYTES_MAX + 1);
    let reply = request(addr, &format!("GET /{long}")).await;
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
}

#[tokio::test]
async fn silent_clients_leave_places_to_others_when_they_go() {
    let (addr, _node) = start(true).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    let waits = timeout(Duration::from_millis(200), get(addr, "/health")).await;
    assert!(waits.is_err(), "served beyond the limit");
    silent.clear();
    let reply = timeout(Duration::from_secs(5), get(addr, "/health")).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_the_flag() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = taken.local_addr().unwrap();
    let Err(error) = Exporter::start(Some(addr)).await else { panic!("served twice") };
    assert!(error.to_string().contains("--metrics"), "{error}");
}
