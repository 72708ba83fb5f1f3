//! The page `report.html`: one file that shows a whole test.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::bands::{Band, bands};
use super::data::Data;
use super::deliveries::deliveries;
use super::figures::figures;
use super::graph::graph;
use super::propagation::Propagation;
use super::terminal::{closing_line, verdict};
use crate::checker::Verdict;
use crate::excerpt::{printable, sentence};
use crate::history::{Op, Process};
use crate::limits::Limits;
use crate::options::{Latency, Options};
use crate::results::Results;
use crate::world::World;

const STYLE: &str = include_str!("assets/page.css");
const CHART_STYLE: &str = include_str!("assets/uplot.min.css");
const CHART_SCRIPT: &str = include_str!("assets/uplot.min.js");
const SCRIPT: &str = include_str!("assets/page.js");

/// How many faults the page lists.
const FAULTS_MAX: usize = 200;

/// How many lines of an explanation the page shows.
const LINES_MAX: usize = 32;

/// How many characters of a value the evidence shows.
const VALUE_CHARS: usize = 400;

/// The report of a test as an HTML page.
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// use maelstrom_sim::Test;
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::report::Report;
/// use maelstrom_sim::simulate::simulate;
/// use maelstrom_sim::workload::Echo;
///
/// # struct Silent;
/// # impl MessageHandler for Silent {
/// #     type Payload = serde_json::Value;
/// #     type Event = NoEvent;
/// #     fn message(&mut self, _: &mut Node<NoEvent>, _: &Request, _: Self::Payload) -> Result<(), Error> {
/// #         Ok(())
/// #     }
/// # }
/// let time_limit = Duration::from_secs(2);
/// let options = Options { time_limit, trace: true, ..Options::default() };
/// let world = simulate(Test::new(Echo::default(), options), |_| Silent);
/// let results = world.results();
/// let page = Report::new(&world, &results).replayed_by("cargo test echo").to_html()?;
/// assert!(page.contains("no echo succeeded"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Report<'a> {
    world: &'a World,
    results: &'a Results,
    limits: Limits,
    title: String,
    replay: Option<String>,
}

impl<'a> Report<'a> {
    /// The report of a test with these results. Messages and faults come from the trace, so the
    /// options must ask for one.
    #[must_use]
    pub fn new(world: &'a World, results: &'a Results) -> Self {
        let title = world.workload().name().to_owned();
        Self { world, results, limits: Limits::default(), title, replay: None }
    }

    /// Shows these limits beside the figures.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Gives the page a title other than the name of the workload.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Shows the command that replays the test.
    #[must_use]
    pub fn replayed_by(self, command: impl Into<String>) -> Self {
        Self { replay: Some(command.into()), ..self }
    }

    /// Writes the page as a file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    #[expect(clippy::disallowed_methods, reason = "a report is a file")]
    pub fn write(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, self.to_html()?)
    }

    /// The HTML page.
    ///
    /// # Errors
    ///
    /// If a part of the test cannot be shown as JSON.
    pub fn to_html(&self) -> io::Result<String> {
        let Self { world, results, .. } = self;
        let bands = world.trace().map(|trace| bands(trace, self.end())).unwrap_or_default();
        let mut charts = world.workload().charts(world.history());
        charts.extend(Propagation::of(world).map(|all| all.chart()));
        let in_micros = bands.iter().map(|band| band.in_micros()).collect();
        let data = Data::of(world, &results.evidence, in_micros, &charts);
        let json = data.to_script()?;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) ": " (verdict(results.valid)) }
                    style { (PreEscaped(CHART_STYLE)) (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        (self.head())
                        (self.explanation())
                        (self.evidence())
                        (deliveries(world))
                        (self.figures())
                        (diagrams(&data))
                        (faults(&bands))
                        (self.setup())
                        (self.details())
                    }
                    script id="data" type="application/json" { (PreEscaped(json)) }
                    script { (PreEscaped(CHART_SCRIPT)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        Ok(page.into_string())
    }

    /// The time of the last event in the trace or the history, in nanoseconds.
    fn end(&self) -> i64 {
        let last = self.world.history().ops().last().map_or(0, |op| op.time.as_nanos());
        let events = self.world.trace().and_then(|trace| trace.events().map(|event| event.0).max());
        i64::try_from(last).unwrap_or(i64::MAX).max(events.unwrap_or(0))
    }

    fn head(&self) -> Markup {
        let options = self.world.options();
        html! {
            header class=(class(self.results.valid)) {
                p.verdict { (verdict(self.results.valid)) }
                h1 { (self.title) }
                p { (test_summary(options)) }
                @if let Some(cause) = &self.results.cause {
                    p.cause { strong { "First cause: " } (printable(cause)) }
                }
                @if self.results.valid != self.results.maelstrom_valid {
                    p { "By Maelstrom's rules alone: " (verdict(self.results.maelstrom_valid)) "." }
                }
                @if let Some(replay) = &self.replay {
                    p { "Run it again: " code { (replay) } }
                }
            }
        }
    }

    /// The longer explanation of the cause.
    fn explanation(&self) -> Markup {
        let found = &self.results.workload;
        // The workload's checker explains only its own cause. Another cause may have come first.
        let is_shown = self.results.cause.is_some() && self.results.cause == found.cause;
        html! {
            @if is_shown && !found.explanation.is_empty() {
                section {
                    h2 { "Why" }
                    ul { @for line in found.explanation.iter().take(LINES_MAX) { li { (sentence(line)) } } }
                    (graph(&found.dependencies))
                }
            }
        }
    }

    /// The operations that prove the cause.
    fn evidence(&self) -> Markup {
        let history = self.world.history();
        let ops = self.results.evidence.iter().filter_map(|index| history.ops().get(*index));
        let ops: Vec<&Op> = ops.collect();
        html! {
            @if !ops.is_empty() {
                section {
                    h2 { "The operations that prove it" }
                    p.about { "A click shows an operation where it happens, in the diagrams below." }
                    div.scroll { table {
                        tr { th { "op" } th { "begun" } th { "ended" } th { "process" } th { "node" }
                            th { "operation" } th { "outcome" } th { "value" } }
                        @for op in ops { (self.event_row(op)) }
                    } }
                }
            }
        }
    }

    /// An event of the history. Whether a read misses a value depends on when the read began, so
    /// this shows both times of an operation.
    fn event_row(&self, op: &Op) -> Markup {
        let Options { nodes, concurrency, .. } = self.world.options();
        let (process, node) = match op.process {
            Process::Client(process) => {
                let thread = process.checked_rem(*concurrency as u64).unwrap_or_default();
                let at = thread.checked_rem(nodes.len() as u64).unwrap_or_default();
                (process.to_string(), usize::try_from(at).ok().and_then(|at| nodes.get(at)))
            }
            Process::Nemesis => ("nemesis".to_owned(), None),
        };
        let begin = self.world.history().invocation(op);
        let [begun, ended] = [Some(begin.unwrap_or(op)), begin.map(|_| op)]
            .map(|event| event.map(|event| seconds(event.time.as_nanos())).unwrap_or_default());
        let kind = serde_json::to_value(op.kind).unwrap_or_default();
        let value = op.value.as_ref().map(|raw| crate::excerpt::cut(raw.get(), VALUE_CHARS));
        html! {
            tr id={ "event-" (op.index) } {
                td { a href={ "#event-" (op.index) } data-event=(op.index) { (op.index) } }
                td.number { (begun) }
                td.number { (ended) }
                td.number { (process) }
                td { @if let Some(node) = node { (node) } }
                td { (op.f) }
                td { (kind.as_str().unwrap_or_default()) }
                td {
                    code { (value.unwrap_or_default()) }
                    @if let Some(error) = &op.error { " " span.error { (sentence(error)) } }
                }
            }
        }
    }

    fn figures(&self) -> Markup {
        let figures = figures(self.world, self.results, &self.limits);
        let has_limits = figures.iter().any(|figure| figure.limit.is_some());
        html! {
            section #figures {
                h2 { "Figures" }
                div.scroll { table {
                    tr { th { "figure" } th { "value" } @if has_limits { th { "limit" } } th { "meaning" } }
                    @for figure in &figures {
                        tr class=[figure.is_missed.then_some("missed")] {
                            td { (figure.name) }
                            td.number { (figure.value) }
                            @if has_limits {
                                td.number {
                                    @if let Some(limit) = &figure.limit {
                                        (limit) @if figure.is_missed { " ✗" } @else { " ✓" }
                                    }
                                }
                            }
                            td.about { (figure.about) }
                        }
                    }
                } }
            }
        }
    }

    fn setup(&self) -> Markup {
        let options = self.world.options();
        let workload = self.world.workload();
        let settings = [vec![workload.name().to_owned()], workload.settings()].concat();
        let rows = [
            ("workload", settings.join(", ")),
            ("nodes", options.nodes.iter().map(|id| sentence(id)).collect::<Vec<_>>().join(", ")),
            ("client threads", options.concurrency.to_string()),
            ("rate", format!("{} operations a second", (options.rate * 1e4).round() / 1e4)),
            ("time limit", in_seconds(options.time_limit)),
            ("latency", latency(options.latency)),
            ("possible faults", possible_faults(options)),
            ("seed", options.seed.to_string()),
        ];
        html! {
            section {
                h2 { "The test" }
                div.scroll { table { @for (name, value) in rows { tr { td { (name) } td { (value) } } } } }
            }
        }
    }

    fn details(&self) -> Markup {
        html! {
            section {
                h2 { "All results" }
                details {
                    summary { (closing_line(self.results.valid)) }
                    pre { (super::summary(self.results)) }
                }
            }
        }
    }
}

/// The CSS class of a verdict.
const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

/// A time in seconds, in words.
fn in_seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// The latency of messages between nodes, in words.
fn latency(Latency { mean_ms, dist }: Latency) -> String {
    let dist = dist.to_possible_value();
    let dist = dist.map(|value| format!(", {}", value.get_name())).unwrap_or_default();
    format!("{mean_ms} ms{dist}")
}

/// The faults that the test may inject and the time between them, in words.
fn possible_faults(Options { nemesis, nemesis_interval, .. }: &Options) -> String {
    let names: Vec<&str> = nemesis.iter().map(|fault| fault.name()).collect();
    if names.is_empty() {
        return "none".into();
    }
    format!(
        "{}; one begins or ends every {} on average",
        names.join(", "),
        in_seconds(*nemesis_interval)
    )
}

/// Describes the test in one sentence.
fn test_summary(options: &Options) -> String {
    let Options { nodes, rate, time_limit, latency, nemesis, .. } = options;
    let mut text = format!(
        "{} node{}, {} operations a second for {}, {} ms between nodes",
        nodes.len(),
        if nodes.len() == 1 { "" } else { "s" },
        (rate * 100.0).round() / 100.0,
        in_seconds(*time_limit),
        latency.mean_ms
    );
    let names: Vec<&str> = nemesis.iter().map(|fault| fault.name()).collect();
    if !names.is_empty() {
        text.push_str(&format!("; possible faults: {}", names.join(", ")));
    }
    text + "."
}

/// The elements that the scripts fill.
fn diagrams(data: &Data<'_>) -> Markup {
    let (ops, messages) = data.left_out();
    html! {
        noscript { p { "The charts and diagrams need JavaScript." } }
        section #charts {
            h2 { "Over time" }
            p.about {
                "Faults are bands behind the curves. Drag over a chart to choose the time that the "
                "timeline and the space-time diagram show."
            }
            @if ops > 0 || messages > 0 {
                p.about { "Not shown, since there are too many: " (ops) " operations, " (messages)
                    " messages." }
            }
            div.charts {}
        }
        section #timeline {
            h2 { "Timeline" }
            p.about { "A row for each client thread, a bar for each operation." }
            div.tools {}
            div.canvas { canvas tabindex="0" aria-label="Timeline of the operations" {} }
        }
        section #spacetime {
            h2 { "Space-time diagram" }
            p.about {
                "A line for each node and service. Time goes to the right. An arrow is a message, from "
                "when it was sent to when it arrived; a cross marks one that did not. A click on a "
                "message marks its likely causes and effects. Bodies are cut after some hundred characters, and "
                "the search field finds nothing in the rest."
            }
            div.tools {}
            div.canvas { canvas tabindex="0" aria-label="Space-time diagram of the messages" {} }
        }
        aside #selected hidden {}
        div #tip hidden {}
    }
}

fn faults(bands: &[Band]) -> Markup {
    html! {
        @if !bands.is_empty() {
            section {
                h2 { "Faults" }
                details {
                    summary {
                        (bands.len()) @if bands.len() == 1 { " fault" } @else { " faults" }
                        @if bands.len() > FAULTS_MAX { ", of which these are the first " (FAULTS_MAX) }
                    }
                    div.scroll { table {
                        tr { th { "from" } th { "to" } th { "fault" } }
                        @for band in bands.iter().take(FAULTS_MAX) {
                            tr {
                                td.number { (seconds_of(band.from)) }
                                td.number { (seconds_of(band.to)) }
                                td { (band.name) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn seconds(nanos: u128) -> String {
    seconds_of(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A time in seconds with six decimals.
pub(super) fn seconds_of(nanos: i64) -> String {
    let micros = nanos.unsigned_abs() / 1_000;
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
    use serde::{Deserialize, Serialize};
    use serde_json::Value;

    use super::*;
    use crate::Test;
    use crate::nemesis::Fault;
    use crate::simulate::simulate;
    use crate::workload::{Echo, TxnRwRegister};

    /// A node that replies to each echo with the same text.
    struct Parrot(&'static str);

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Payload {
        Echo {},
        EchoOk { echo: String },
    }

    impl MessageHandler for Parrot {
        type Payload = Payload;
        type Event = NoEvent;

        fn message(
            &mut self,
            node: &mut Node<NoEvent>,
            from: &Request,
            _: Payload,
        ) -> Result<(), Error> {
            node.reply(from, &Payload::EchoOk { echo: self.0.into() });
            Ok(())
        }
    }

    fn world(text: &'static str) -> World {
        let time_limit = Duration::from_secs(5);
        let nemesis = [Fault::Partition, Fault::Crash].into();
        let nemesis_interval = Duration::from_secs(1);
        let options =
            Options { time_limit, trace: true, nemesis, nemesis_interval, ..Options::default() };
        simulate(Test::new(Echo::default(), options), |_| Parrot(text))
    }

    fn data(page: &str) -> Value {
        let begin = "type=\"application/json\">";
        let (_, rest) = page.split_once(begin).unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_page_of_a_bad_test_names_the_cause_and_the_operations_that_prove_it() {
        let world = world("hello");
        let results = world.results();
        let limits = Limits { max_msgs_per_op: Some(0.0), ..Limits::default() };
        let page = Report::new(&world, &results).with_limits(limits).replayed_by("make <it>");
        let page = page.to_html().unwrap();
        let cause = results.cause.as_ref().unwrap();
        assert!(page.contains("not valid"), "{page}");
        assert!(page.contains(&cause.get(..30).unwrap().replace('"', "&quot;")), "{cause}");
        assert!(page.contains("make &lt;it&gt;"));
        assert!(page.contains("&lt; 0 ✗"));
        let data = data(&page);
        let proof = data["evidence"].as_array().unwrap();
        assert_eq!(proof.len(), results.evidence.len());
        // The page names the first of them first.
        let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        assert_eq!(place(&data["ops"][place(&proof[0])][10]), results.evidence[0]);
        assert!(page.contains(&format!("data-event=\"{}\"", results.evidence[0])));
        let begun = world.history().client_ops().filter(|op| op.invocation.is_none()).count();
        assert_eq!(data["ops"].as_array().unwrap().len(), begun);
        assert_eq!(
            data["messages"].as_array().unwrap().len(),
            world.trace().unwrap().messages().len()
        );
        assert!(data["bands"].as_array().unwrap().iter().any(|band| band["kind"] == "crash"));
    }

    #[test]
    fn the_page_tells_the_options_in_words() {
        let page = |nemesis: &[Fault]| {
            let nemesis = nemesis.iter().copied().collect();
            let nemesis_interval = Duration::from_millis(2500);
            let options = Options { nemesis, nemesis_interval, rate: 0.1, ..Options::default() };
            let test = Test::new(TxnRwRegister::default(), options);
            let world = World::new(test, Duration::ZERO);
            let results = world.results();
            Report::new(&world, &results).to_html().unwrap()
        };
        let row = |name: &str, value: &str| format!("<tr><td>{name}</td><td>{value}</td></tr>");
        let workload = "txn-rw-register, --consistency-models strict-serializable, \
                        --key-count 10, --max-writes-per-key 16, --max-txn-length 4";
        let quiet = page(&[]);
        for (name, value) in [
            ("workload", workload),
            ("rate", "0.1 operations a second"),
            ("time limit", "60 s"),
            ("latency", "0 ms, constant"),
            ("possible faults", "none"),
        ] {
            assert!(quiet.contains(&row(name, value)), "{name}: {value}");
        }
        let faults = "partition, pause; one begins or ends every 2.5 s on average";
        assert!(page(&[Fault::Partition, Fault::Pause]).contains(&row("possible faults", faults)));
    }

    #[test]
    fn a_text_of_a_node_stays_a_text() {
        let evil = "</script><script>alert(1)</script><!-- <script>";
        let world = world(evil);
        let results = world.results();
        let page = Report::new(&world, &results).to_html().unwrap();
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("</script>").count(), 3);
        let messages = data(&page);
        let bodies = messages["messages"].as_array().unwrap().iter().map(|row| row[6].as_str());
        let bodies: Vec<&str> = bodies.flatten().collect();
        assert!(bodies.iter().any(|body| body.contains(evil)), "{bodies:#?}");
    }
}
