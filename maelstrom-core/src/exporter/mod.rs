//! Serves metrics as Prometheus text, and the health of the node, over HTTP.
//!
//! The server runs beside the node, on the same thread. It asks the node's loop for everything that
//! it reports. Invariants:
//!
//! * *A client cannot hold up the node.* The loop only answers [requests](Exporter::asked), and
//!   never waits for a client.
//! * *A client takes bounded memory and time.* There are at most [`CONNECTIONS_MAX`] connections.
//!   Each is for one request of at most [`HEAD_BYTES_MAX`], and lasts at most [`CONNECTION_TIME`].
//! * *A node whose loop stands still is not alive.* If no answer comes within [`LOOP_TIME`], the
//!   server replies with status 503. If the loop keeps the thread busy, for example in a handler,
//!   the server stops as well, and the client gets no reply.
//!
//! | path | status 200 | status 503 |
//! |---|---|---|
//! | `/metrics` | Prometheus text | the loop does not answer |
//! | `/health` | live and ready | not live, or not ready |
//! | `/health/live` | the loop answers | it does not |
//! | `/health/ready` | `init` was answered | it was not, or the loop does not answer |

#![expect(clippy::disallowed_methods, reason = "the server belongs to the driver")]

mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::metrics::Snapshot;

/// Number of clients that are served at a time. Further clients wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// The longest that a connection may last.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The time that the node's loop has to answer.
const LOOP_TIME: Duration = Duration::from_secs(2);

/// Pause after a connection could not be accepted. File descriptors may be free again after it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request to the node's loop for its state.
pub(crate) struct Asked(oneshot::Sender<State>);

/// The answer of the loop.
struct State {
    is_ready: bool,
    metrics: Snapshot,
}

impl Asked {
    pub(crate) fn answer(self, is_ready: bool, metrics: Snapshot) {
        if self.0.send(State { is_ready, metrics }).is_err() {
            debug!("a reader of the metrics did not wait for them");
        }
    }
}

/// The loop's handle to the server. The server ends when this is dropped.
pub(crate) struct Exporter {
    asked: Option<mpsc::Receiver<Asked>>,
    server: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Listens on `addr`. Without an address, there is no server.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on.
    pub(crate) async fn start(addr: Option<SocketAddr>) -> io::Result<Self> {
        let Some(addr) = addr else { return Ok(Self { asked: None, server: None }) };
        let cannot = |error: io::Error| {
            let text = format!("cannot serve metrics on {addr}: {error} (see --metrics)");
            io::Error::new(error.kind(), text)
        };
        let listener = TcpListener::bind(addr).await.map_err(cannot)?;
        let addr = listener.local_addr().map_err(cannot)?;
        info!(%addr, "serves /metrics and /health");
        let (ask, asked) = mpsc::channel(CONNECTIONS_MAX);
        let server = tokio::spawn(serve(listener, ask));
        Ok(Self { asked: Some(asked), server: Some(server) })
    }

    /// Whether there is a server.
    pub(crate) const fn is_on(&self) -> bool {
        self.asked.is_some()
    }

    /// Ready when a client requests something. Never ready if there is no server.
    pub(crate) async fn asked(&mut self) -> Asked {
        match &mut self.asked {
            Some(asked) => match asked.recv().await {
                Some(asked) => asked,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn serve(listener: TcpListener, ask: mpsc::Sender<Asked>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, addr)) => {
                let ask = ask.clone();
                tokio::spawn(async move {
                    match timeout(CONNECTION_TIME, answer(client, &ask)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!(%addr, %error, "a reader of the metrics is gone"),
                        Err(_) => debug!(%addr, "a reader of the metrics took too long"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a reader of the metrics");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one request, and closes the connection.
async fn answer(mut client: TcpStream, ask: &mpsc::Sender<Asked>) -> io::Result<()> {
    let reply = match read_head(&mut client).await? {
        Some(head) => reply_to(&head, ask).await,
        None => Reply::text("431 Request Header Fields Too Large", "the request is too long\n"),
    };
    client.write_all(&reply.bytes()).await?;
    client.shutdown().await?;
    // Closing with unread input would reset the connection, and the client might lose the reply.
    let mut rest = [0; 1024];
    let mut room = HEAD_BYTES_MAX;
    while room > 0 {
        match client.read(&mut rest).await? {
            0 => break,
            n => room = room.saturating_sub(n),
        }
    }
    Ok(())
}

/// The head of a request, including the empty line at its end. `None`: it is too long.
async fn read_head(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Ok(None);
        }
        match client.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => head.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
    Ok(Some(head))
}

struct Reply {
    status: &'static str,
    content_type: &'static str,
    body: String,
    /// Whether the body is left out, as in a reply to `HEAD`.
    is_head: bool,
}

impl Reply {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            is_head: false,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, content_type, body, is_head } = self;
        let mut reply = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !is_head {
            reply.push_str(body);
        }
        reply.into_bytes()
    }
}

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";

async fn reply_to(head: &[u8], ask: &mpsc::Sender<Asked>) -> Reply {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with(b"HTTP/1."));
    let (Some(method), Some(target), true, None) = (method, target, is_http, words.next()) else {
        return Reply::text("400 Bad Request", "not a request of HTTP/1\n");
    };
    if !matches!(method, b"GET" | b"HEAD") {
        return Reply::text("405 Method Not Allowed", "only GET\n");
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut reply = match path {
        b"/metrics" => metrics(state(ask).await),
        b"/health" => health(state(ask).await.as_ref(), true, true),
        b"/health/live" => health(state(ask).await.as_ref(), true, false),
        b"/health/ready" => health(state(ask).await.as_ref(), false, true),
        _ => Reply::text("404 Not Found", "there are /metrics and /health\n"),
    };
    reply.is_head = method == b"HEAD";
    reply
}

/// The state of the node. `None`: its loop does not answer.
async fn state(ask: &mpsc::Sender<Asked>) -> Option<State> {
    let (answer, answered) = oneshot::channel();
    ask.try_send(Asked(answer)).ok()?;
    timeout(LOOP_TIME, answered).await.ok()?.ok()
}

fn metrics(state: Option<State>) -> Reply {
    match state {
        Some(state) => Reply {
            status: OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: text::render(&state.metrics),
            is_head: false,
        },
        None => Reply::text(UNAVAILABLE, "the node does not answer\n"),
    }
}

fn health(state: Option<&State>, needs_live: bool, needs_ready: bool) -> Reply {
    let is_live = state.is_some();
    let is_ready = state.is_some_and(|state| state.is_ready);
    let is_well = (is_live || !needs_live) && (is_ready || !needs_ready);
    Reply {
        status: if is_well { OK } else { UNAVAILABLE },
        content_type: "application/json",
        body: format!("{{\"live\":{is_live},\"ready\":{is_ready}}}\n"),
        is_head: false,
    }
}

#[cfg(test)]
mod tests;
