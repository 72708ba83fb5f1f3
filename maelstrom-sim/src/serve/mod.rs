//! A local web page with the runs of a store and their reports.
//!
//! The server answers only `GET`. It serves only the page itself and files below the store.
//! [`resolve`] follows all links, and refuses paths that lead out of the store.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the list of runs, as a page |
//! | `/runs.json` | the same list as JSON, which the page requests every second |
//! | `/store/…` | a file of a run |

#![expect(clippy::disallowed_methods, reason = "it serves files")]

mod page;
mod runs;

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use tiny_http::{Header, Method, Request, Response, ResponseBox, Server};

pub use self::runs::{Run, State, runs};

/// The number of server threads. A browser requests few files at a time.
const THREADS: usize = 4;

/// The server of a page with the runs of a store.
///
/// ```
/// use maelstrom_sim::serve::Page;
///
/// let store = tempfile::tempdir()?;
/// let page = Page::bind(store.path(), ([127, 0, 0, 1], 0).into())?;
/// assert_ne!(page.address().port(), 0);
/// // page.serve();
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Page {
    server: Server,
    store: PathBuf,
    address: SocketAddr,
}

impl Page {
    /// Listens on an address. Port 0 means any free port.
    ///
    /// # Errors
    ///
    /// If the folder does not exist, or the address is in use or does not belong to this machine.
    pub fn bind(store: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let cannot = || format!("cannot serve {}: there is no such folder", store.display());
        let store = store.canonicalize().with_context(cannot)?;
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let server =
            Server::from_listener(listener, None).map_err(|error| anyhow::anyhow!(error))?;
        Ok(Self { server, store, address })
    }

    /// The address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until [`stop`](Self::stop).
    pub fn serve(&self) {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Ok(request) = self.server.recv() {
                        // Ignores errors: the browser may have closed the connection.
                        respond(&self.store, request).ok();
                    }
                });
            }
        });
    }

    /// Ends [`serve`](Self::serve).
    pub fn stop(&self) {
        for _ in 0..THREADS {
            self.server.unblock();
        }
    }
}

fn respond(store: &Path, request: Request) -> std::io::Result<()> {
    if *request.method() != Method::Get {
        return request.respond(text(405, "only GET"));
    }
    if !is_local_name(&request) {
        return request.respond(text(403, "ask by the address, or as localhost"));
    }
    let path = request.url().split(['?', '#']).next().unwrap_or_default();
    let response = match path {
        "/" => typed(Response::from_string(page::page(&runs(store))), HTML),
        "/runs.json" => match serde_json::to_string(&runs(store)) {
            Ok(json) => typed(Response::from_string(json), "application/json"),
            Err(error) => text(500, &error.to_string()),
        },
        _ => match path.strip_prefix("/store/").and_then(|path| resolve(store, path)) {
            Some(file) => match File::open(&file) {
                Ok(opened) => typed(Response::from_file(opened), media_type(&file)),
                Err(error) => text(404, &error.to_string()),
            },
            None => text(404, "there is no such file in the store"),
        },
    };
    request.respond(response)
}

/// Whether a request names the server by an IP address or as `localhost`. A page of another site
/// could resolve its own name to this machine and then read the answers (DNS rebinding).
fn is_local_name(request: &Request) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    host.is_some_and(|header| {
        let host = header.value.as_str();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        name == "localhost"
            || host.parse::<SocketAddr>().is_ok()
            || host.parse::<IpAddr>().is_ok()
            || name.parse::<IpAddr>().is_ok()
    })
}

const HTML: &str = "text/html; charset=utf-8";

fn typed<R: std::io::Read + Send + 'static>(
    response: Response<R>,
    media_type: &str,
) -> ResponseBox {
    let headers = [
        ("Content-Type", media_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Header::from_bytes(name.as_bytes(), value.as_bytes()).ok());
    headers.fold(response, Response::with_header).boxed()
}

fn text(status: u16, text: &str) -> ResponseBox {
    typed(Response::from_string(format!("{text}\n")).with_status_code(status), "text/plain")
}

/// Shows everything but pages and JSON as plain text, because nodes choose some of the content.
fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => HTML,
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Resolves the path of a request to a regular file in the store, after following all links.
///
/// ```
/// use maelstrom_sim::serve::resolve;
///
/// let store = tempfile::tempdir()?;
/// std::fs::write(store.path().join("report.html"), "")?;
/// assert!(resolve(store.path(), "report.html").is_some());
/// assert!(resolve(store.path(), "../report.html").is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn resolve(store: &Path, path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(decode(path)?);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.as_os_str().is_empty() || !path.components().all(is_plain) {
        return None;
    }
    let (store, file) = (store.canonicalize().ok()?, store.join(path).canonicalize().ok()?);
    (file.starts_with(store) && file.is_file()).then_some(file)
}

/// Decodes the percent signs of a path.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        (rest, bytes) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let hex = |digit: &u8| char::from(*digit).to_digit(16);
                let byte = u8::try_from(hex(high)? * 16 + hex(low)?).ok()?;
                bytes.push(byte);
                (after, bytes)
            }
            (byte, after) => {
                bytes.push(*byte);
                (after, bytes)
            }
        };
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

#[cfg(test)]
mod tests;
