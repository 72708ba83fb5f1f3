//! The cost of an operation against the nodes, the load and the latency, in virtual time.

use std::time::Duration;

use kafka_log::{Config, GOSSIP_PERIOD_MIN, KafkaLog};
use maelstrom_core::gossip;
use maelstrom_sim::Test;
use maelstrom_sim::options::Options;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::Kafka;

#[path = "../../../maelstrom-sim/tests/curves/mod.rs"]
mod points;

use points::{Costs, Point};

/// How long a high watermark waits for other items to the same follower, in seconds.
const LAZY: f64 = 0.05;

/// The fraction of operations that commit offsets: the polls that read something.
const COMMITS: f64 = 0.08;

/// Messages between servers for each operation. All runs have as many operations, so that the start
/// and the final polls have the same share of each. A send takes up to six hops and some waiting, so
/// a rate needs that many clients.
fn measure(point: Point) -> f64 {
    let operations = if points::is_full() { 2_000.0 } else { 500.0 };
    let seconds = operations / f64::from(point.rate);
    let options = point.options(Duration::from_secs_f64(seconds));
    let clients = point.rate * point.hop_ms * 7 / 1_000;
    let concurrency = clients.max(1).next_multiple_of(point.nodes);
    let concurrency = usize::try_from(concurrency).unwrap();
    let test = Test::new(Kafka::default(), Options { concurrency, ..options });
    let period_min = GOSSIP_PERIOD_MIN;
    let gossip = || gossip::Config { period_min, ..gossip::Config::default() };
    let world = simulate(test, |_| KafkaLog::new(Config::default(), gossip()));
    let results = serde_json::to_value(world.assert_valid()).unwrap();
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

/// Half of the operations are sends, and half are polls of a key or two. Three nodes keep a
/// partition. A send needs the leader, two followers and their answers: four messages, and two more
/// unless its node leads. A poll needs two messages if its node does not keep the key. With two
/// nodes, a send needs two messages, and a poll none.
///
/// Refined: a high watermark goes alone if nothing else goes to its follower for a while, and so
/// does the acknowledgement of it. Committed offsets gossip. Packets fill up: in each direction a
/// link has about one question and one answer under way.
fn theory(point: Point) -> Costs {
    let (n, rate) = (f64::from(point.nodes), f64::from(point.rate));
    let links = n * (n - 1.0);
    let formula = if point.nodes == 2 { 1.0 } else { 4.0 - 4.0 / n };
    let alone = alone(rate / 2.0, rate * formula / links);
    let followers = (n - 1.0).min(2.0);
    let watermarks = followers / 2.0 * (alone + alone * alone);
    let offsets = point.gossip(GOSSIP_PERIOD_MIN, COMMITS).refined;
    let round_trip = f64::from(2 * point.hop_ms) / 1_000.0 + Config::default().linger.as_secs_f64();
    let full = 2.0 * links / round_trip / rate;
    Costs { formula, refined: full.min(formula + watermarks + offsets) }
}

/// The probability that no packet leaves on a link for as long as a high watermark may wait: neither
/// one of the `usual` packets a second, nor a later send to the same key. Each key gets half as many
/// sends as the next one.
fn alone(sends: f64, usual: f64) -> f64 {
    let shares = (1..=10).map(|key| 0.5_f64.powi(key));
    shares.map(|share| share * (-LAZY * (sends * share + usual)).exp()).sum()
}

#[test]
fn curves() {
    println!("{}", points::check("kafka-log", 0.75..=1.25, measure, theory));
}
