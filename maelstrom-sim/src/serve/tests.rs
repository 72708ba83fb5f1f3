//! The web page of a store, asked over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

fn store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("store/echo/20260101T000000.000Z");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("results.json"), r#"{"valid?":false,"cause":"<b>lost</b>"}"#).unwrap();
    std::fs::write(run.join("report.html"), "<p>report").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    folder
}

/// Sends a request, and returns the whole response.
fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    ask_host(address, &address.to_string(), method, path)
}

fn ask_host(address: SocketAddr, host: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn nothing_outside_the_store_is_served() {
    let folder = store();
    let root = folder.path().join("store");
    let run = "echo/20260101T000000.000Z";
    assert!(resolve(&root, &format!("{run}/report.html")).is_some());
    assert!(resolve(&root, &format!("{run}/r%65port.html")).is_some());
    for path in [
        "",
        run,
        "../secret",
        "echo/../../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "/etc/passwd",
        "%2fetc/passwd",
        "echo/%",
        "echo/%zz",
        "echo/%00",
        "./echo",
    ] {
        assert_eq!(resolve(&root, path), None, "{path}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../../secret", root.join("echo/link")).unwrap();
        assert_eq!(resolve(&root, "echo/link"), None);
        std::os::unix::fs::symlink("echo/20260101T000000.000Z", root.join("latest")).unwrap();
        assert!(resolve(&root, "latest/report.html").is_some());
    }
}

/// Stops the server, even if an assertion fails.
struct Stop<'a>(&'a Page);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_page_lists_the_runs_and_links_to_their_reports() {
    let folder = store();
    let local: SocketAddr = ([127, 0, 0, 1], 0).into();
    let page = Page::bind(&folder.path().join("store"), local).unwrap();
    std::thread::scope(|scope| {
        let _stop = Stop(&page);
        scope.spawn(|| page.serve());
        let list = ask(page.address(), "GET", "/?x=1");
        assert!(list.starts_with("HTTP/1.1 200") && list.contains("not valid"), "{list}");
        // A node chose the text of the cause, so the page escapes it.
        assert!(list.contains("&lt;b&gt;lost"), "{list}");
        let link = "/store/echo/20260101T000000.000Z/report.html";
        assert!(list.contains(link), "{list}");
        assert!(ask(page.address(), "GET", link).ends_with("<p>report"));
        let json = ask(page.address(), "GET", "/runs.json");
        assert!(json.contains(r#""state":"invalid""#), "{json}");
        for path in ["/store/../secret", "/secret", "/store/", "/etc/passwd"] {
            assert!(ask(page.address(), "GET", path).starts_with("HTTP/1.1 404"), "{path}");
        }
        assert!(ask(page.address(), "POST", "/").starts_with("HTTP/1.1 405"));
        for (host, status) in
            [("localhost:1", "200"), ("[::1]:1", "200"), ("evil.example:1", "403")]
        {
            let answer = ask_host(page.address(), host, "GET", "/runs.json");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        }
    });
    assert!(Page::bind(&folder.path().join("nothing"), local).is_err());
}

#[test]
fn a_run_is_under_way_as_long_as_it_tells_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("kafka/20260102T000000.000Z");
    std::fs::create_dir_all(&run).unwrap();
    assert!(runs(folder.path()).is_empty());
    let progress = r#"{"phase":"testing","seconds":3.2,"of":20.0,"ok":7,"fail":0,"info":1}"#;
    std::fs::write(run.join("progress.json"), progress).unwrap();
    let all = runs(folder.path());
    assert_eq!(all[0].state, State::Running);
    assert_eq!(all[0].figures, "testing, 3 of about 20 s; 7 ok, 0 fail, 1 info");
    std::fs::remove_file(run.join("progress.json")).unwrap();
    std::fs::write(run.join("history.jsonl"), "").unwrap();
    assert_eq!(runs(folder.path())[0].state, State::Failed);
}

#[test]
fn runs_of_sweeps_are_listed_with_their_findings() {
    let folder = tempfile::tempdir().unwrap();
    for (run, finding) in [
        ("simulation/echo-hardware-42", Some("echo, seed 42: n0 panicked\nmore")),
        ("shrunk/echo-7", Some("lost <b>\n")),
        ("simulation/calm-0201", None),
    ] {
        let run = folder.path().join(run);
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("results.json"), r#"{"valid?":true}"#).unwrap();
        std::fs::write(run.join("report.html"), "<p>report").unwrap();
        if let Some(finding) = finding {
            std::fs::write(run.join("finding.txt"), finding).unwrap();
        }
    }
    std::fs::write(folder.path().join("shrunk/echo-7.json"), "{}").unwrap();
    let all = runs(folder.path());
    let found = |sweep: &str| {
        let run = all.iter().find(|run| run.workload == sweep).unwrap();
        (&*run.name, run.state, run.cause.as_deref(), &*run.folder)
    };
    assert_eq!(all.len(), 3);
    let cause = Some("echo, seed 42: n0 panicked");
    let expected = ("run 42 of a sweep", State::Invalid, cause, "simulation/echo-hardware-42");
    assert_eq!(found("echo-hardware"), expected);
    let smaller = "run 7 of a sweep, made smaller";
    assert_eq!(found("echo"), (smaller, State::Invalid, Some("lost <b>"), "shrunk/echo-7"));
    let expected = ("run 0201 of a sweep", State::Valid, None, "simulation/calm-0201");
    assert_eq!(found("calm"), expected);
    let page = page::page(&all);
    assert!(page.contains("\"/store/shrunk/echo-7/report.html\""), "{page}");
    assert!(page.contains("lost &lt;b&gt;"), "{page}");
}
