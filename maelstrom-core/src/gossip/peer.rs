//! A node's knowledge of one peer: its version, whether it hears and answers, and the round trip to
//! it.
//!
//! All of it takes O(origins): it refers to positions in the logs, and never copies entries.

use std::collections::VecDeque;
use std::time::Duration;

use super::replica::VersionVector;
use super::wire::{Echo, Fetch, micros};
use crate::message::NodeId;

/// The round trip to a peer: the median of the last few samples. So a peer that was paused once
/// does not count as far away.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrip {
    /// The samples, with the newest last.
    samples: VecDeque<Duration>,
    /// When the newest sample was taken.
    sampled: Option<Duration>,
    median: Option<Duration>,
    variation: Duration,
}

const SAMPLES_MAX: usize = 8;

impl RoundTrip {
    /// The median round trip, if there was ever an answer.
    pub(super) fn estimate(&self) -> Option<Duration> {
        self.median
    }

    /// Whether there are too few samples to trust their median.
    pub(super) fn is_vague(&self) -> bool {
        self.samples.len() < SAMPLES_MAX / 2
    }

    /// Whether there is one sample.
    pub(super) fn is_single(&self) -> bool {
        self.samples.len() == 1
    }

    /// By how much the slower samples exceed the median.
    pub(super) fn variation(&self) -> Duration {
        self.variation
    }

    /// Adds a sample. Ignores messages that were sent before the last sample was taken: a peer that
    /// was paused answers all of them at once, so they show nothing new.
    fn sample(&mut self, now: Duration, sent: Duration, held: Duration) {
        if self.sampled.is_some_and(|sampled| sent < sampled) {
            return;
        }
        let Some(sample) = now.checked_sub(sent).and_then(|since| since.checked_sub(held)) else {
            return;
        };
        // Rounded down to microseconds, like the `sent` time of a message that is sent right now.
        self.sampled = Some(Duration::from_micros(micros(now)));
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let mut sorted: Vec<Duration> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        self.median = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
        let slow = sorted.get(sorted.len().saturating_mul(3) / 4).copied();
        let spread = slow.zip(self.median).map(|(slow, median)| slow.saturating_sub(median));
        self.variation = spread.unwrap_or_default();
    }
}

/// A message to a peer that the peer has not confirmed.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    /// The time of sending, as in the message.
    sent: u64,
    /// The version that this node told the peer.
    told: VersionVector,
    /// When to ask the peer again.
    pub(super) deadline: Duration,
    /// How often the peer was asked again, for the backoff.
    pub(super) tries: u32,
    /// How many messages in a row the peer has not even echoed, including this one.
    silences: u32,
}

impl Awaited {
    fn new(sent: u64, told: VersionVector, deadline: Duration) -> Self {
        Self { sent, told, deadline, tries: 0, silences: 1 }
    }
}

/// After this many messages without any answer, a peer is considered down.
const SILENCES_MAX: u32 = 2;

/// Whether a peer is believed to hear and to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    /// The peer left a message unanswered, and has been down since this time.
    Down(u64),
}

/// Another node, as seen from this one.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its position in the list of all nodes. The lowest is the best hub.
    pub(super) rank: usize,
    /// Its current life, if it has sent a message in this node's life.
    life: Option<u64>,
    /// The version that it claimed in that life.
    pub(super) known: VersionVector,
    /// The version that this node told it. The peer fetches everything that it lacks of that
    /// version.
    pub(super) told: VersionVector,
    /// The replica's generation when the peer was last told.
    pub(super) told_generation: u64,
    /// Whether this node keeps the peer up to date.
    pub(super) is_served: bool,
    /// Whether `told` is valid: the peer was told of everything when this node began to serve it.
    pub(super) is_introduced: bool,
    /// The last view (this node's hub, and the peers that it cannot reach) that the peer was told.
    pub(super) view_told: u64,
    /// The newest message from it: its life, its time of sending, and the time of its arrival.
    heard: Option<(u64, u64, Duration)>,
    /// The newest message to it that it has echoed.
    echoed: Option<u64>,
    /// The last message that asked for an answer: when it was sent, and how soon the answer was
    /// wanted.
    asked: Option<(u64, Duration)>,
    pub(super) awaited: Option<Awaited>,
    /// The deadline for answering the peer.
    pub(super) answer_at: Option<Duration>,
    /// True if the next answer must ask the peer to prove that it receives this node's messages.
    pub(super) is_doubted: bool,
    /// When to fetch from it the entries that this node lacks.
    pub(super) fetch_at: Option<Duration>,
    /// The last fetch of the peer that was answered, with its time of sending and its version.
    pub(super) answered: Option<(u64, Fetch, VersionVector)>,
    /// The last answer did not bring everything. By this time the peer fetches again.
    pub(super) fetches_until: Option<Duration>,
    /// How many answers in a row brought nothing.
    pub(super) fruitless: u32,
    /// Its newest view that has arrived.
    pub(super) view: u64,
    /// Its hub.
    pub(super) hub: Option<NodeId>,
    /// The nodes that it cannot reach.
    pub(super) lost: Vec<NodeId>,
    /// Increases with every change of `lost`.
    pub(super) lost_changes: u64,
    pub(super) round_trip: RoundTrip,
    /// The longest line that it reads, as it says.
    pub(super) line_bytes_max: Option<usize>,
    /// How many messages were too long for it.
    pub(super) unsent: u64,
    health: Health,
    /// The time since which this node's hub cannot reach it. `None`: the hub reaches it, or there
    /// is no hub.
    lost_by_hub: Option<u64>,
    /// How often it has gone down lately.
    falls: u32,
    /// The peer may not be a hub before this time.
    pub(super) trusted_from: Duration,
}

/// How long a peer is not trusted as a hub once it is back after a second failure. The time doubles
/// with each further failure.
const DISTRUST: Duration = Duration::from_secs(1);
const DISTRUST_DOUBLINGS_MAX: u32 = 5;

/// How often the wait doubles for a peer that answers but has not caught up.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// After this long without a failure, earlier failures are forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The proof that a message gives about the life of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The message is from the known life.
    Same,
    /// The message is the first one of another life.
    Reborn,
    /// The message may be from a life that has ended, or from one that has just begun.
    Unclear,
}

impl Peer {
    pub(super) fn new(rank: usize) -> Self {
        Self {
            rank,
            life: None,
            known: VersionVector::default(),
            told: VersionVector::default(),
            told_generation: 0,
            is_served: false,
            is_introduced: false,
            view_told: 0,
            heard: None,
            echoed: None,
            asked: None,
            awaited: None,
            answer_at: None,
            is_doubted: false,
            fetch_at: None,
            answered: None,
            fetches_until: None,
            fruitless: 0,
            view: 0,
            hub: None,
            lost: Vec::new(),
            lost_changes: 0,
            round_trip: RoundTrip::default(),
            line_bytes_max: None,
            unsent: 0,
            health: Health::Up,
            lost_by_hub: None,
            falls: 0,
            trusted_from: Duration::ZERO,
        }
    }

    /// Whether it is about to fetch from this node again.
    pub(super) fn is_fetching(&self, now: Duration) -> bool {
        self.fetches_until.is_some_and(|until| now < until)
    }

    pub(super) fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Records whether this node's hub reaches it.
    pub(super) fn note_hub_reaches(&mut self, now: Duration, reaches: bool) {
        if reaches {
            self.lost_by_hub = None;
        } else {
            self.lost_by_hub.get_or_insert(micros(now));
        }
    }

    /// Whether this node's hub cannot reach it.
    pub(super) fn is_lost_by_hub(&self) -> bool {
        self.lost_by_hub.is_some()
    }

    /// Whether it answered a message that this node sent after the hub had lost it. True if the
    /// hub reaches it.
    pub(super) fn is_reached(&self) -> bool {
        self.lost_by_hub.is_none_or(|since| self.echoed.is_some_and(|echoed| echoed >= since))
    }

    /// Its current life, if it has sent a message in this node's life.
    pub(super) fn life(&self) -> Option<u64> {
        self.life
    }

    /// Whether it has sent a message in this node's life.
    pub(super) fn is_known(&self) -> bool {
        self.life.is_some()
    }

    /// Records a message of the peer, and determines which life of the peer has sent it.
    ///
    /// A message of an ended life may arrive late. It must not count as the version of the new
    /// life. The echoes distinguish two lives: the later life has heard a message that the earlier
    /// one cannot have heard.
    pub(super) fn record_message(
        &mut self,
        now: Duration,
        life: u64,
        sent: u64,
        echo: Option<Echo>,
    ) -> Standing {
        let is_newest = self.heard.is_none_or(|(l, newest, _)| l != life || newest <= sent);
        if is_newest {
            self.heard = Some((life, sent, now));
        }
        let standing = match self.life {
            None => Standing::Reborn,
            Some(known) if known == life => Standing::Same,
            Some(_) if echo.map(|echo| echo.sent) > self.echoed => Standing::Reborn,
            Some(_) => return Standing::Unclear,
        };
        if standing == Standing::Reborn {
            // Entries that were sent before the peer's first message count if this life has heard
            // them. If so, the answer is still awaited.
            let is_first = self.life.is_none() && echo.is_some();
            self.is_introduced &= is_first;
            self.awaited.take_if(|_| !is_first);
            self.life = Some(life);
            self.known = VersionVector::default();
            self.view = 0;
            (self.fetch_at, self.fetches_until, self.fruitless) = (None, None, 0);
        }
        if let Some(echo) = echo {
            self.note_echo(now, echo);
        }
        standing
    }

    /// Records a message of an unclear life: the peer must prove that it hears this node. The
    /// question needs a time of sending that the peer has not echoed yet. Otherwise the answer
    /// would prove nothing.
    pub(super) fn require_proof(&mut self, now: Duration) {
        let wait = Duration::from_micros(u64::from(self.echoed == Some(micros(now))));
        (self.answer_at, self.is_doubted) = (Some(now.saturating_add(wait)), true);
    }

    fn note_echo(&mut self, now: Duration, echo: Echo) {
        if self.echoed.is_some_and(|newest| echo.sent <= newest) {
            return;
        }
        self.echoed = Some(echo.sent);
        let (sent, held) = (Duration::from_micros(echo.sent), Duration::from_micros(echo.held));
        self.round_trip.sample(now, sent, held);
    }

    /// Marks the peer as up, if it answers a message that was sent after it went down. Returns
    /// whether it was down.
    pub(super) fn mark_up(&mut self, now: Duration) -> bool {
        let Health::Down(since) = self.health else {
            return false;
        };
        if self.echoed.is_none_or(|echoed| echoed < since) {
            return false;
        }
        self.health = Health::Up;
        self.is_introduced = false;
        let doublings = self.falls.checked_sub(2).map(|more| more.min(DISTRUST_DOUBLINGS_MAX));
        let distrust =
            doublings.map_or(Duration::ZERO, |doublings| DISTRUST.saturating_mul(1 << doublings));
        self.trusted_from = now.saturating_add(distrust);
        true
    }

    /// Marks the peer as down. It will be told everything again when it is back.
    pub(super) fn mark_down(&mut self, now: Duration) {
        let forgiven = now.saturating_sub(self.trusted_from) > FORGIVEN_AFTER;
        self.falls = if forgiven { 1 } else { self.falls.saturating_add(1) };
        self.health = Health::Down(micros(now));
        (self.awaited, self.answer_at, self.fetch_at) = (None, None, None);
        self.fetches_until = None;
        self.is_introduced = false;
        self.hub = None;
    }

    /// Records the view of the peer: its hub, and the nodes that it cannot reach. Ignores a view
    /// that was overtaken by a later one.
    pub(super) fn note_view(&mut self, view: u64, hub: Option<&NodeId>, lost: &[NodeId]) {
        if view < self.view {
            return;
        }
        self.view = view;
        self.hub = hub.cloned();
        if self.lost != lost {
            self.lost = lost.to_vec();
            self.lost_changes = self.lost_changes.saturating_add(1);
        }
    }

    /// Records the version that the peer claims, which may be the awaited acknowledgement.
    pub(super) fn acknowledged(&mut self, now: Duration, have: &VersionVector, slack: Duration) {
        self.known.join(have);
        if self.known.covers(&self.told) {
            self.fetches_until = None;
        }
        let echoed = self.echoed;
        let Some(awaited) = self.awaited.as_mut().filter(|awaited| echoed >= Some(awaited.sent))
        else {
            return;
        };
        awaited.silences = 0;
        if self.known.covers(&awaited.told) {
            self.awaited = None;
            if let Some((sent, within)) = self.asked.filter(|(sent, _)| echoed < Some(*sent)) {
                // A later message than the confirmed one also asked for an answer.
                let deadline = Duration::from_micros(sent).saturating_add(within);
                let deadline = deadline.saturating_add(slack).max(now);
                self.awaited = Some(Awaited::new(sent, self.told.clone(), deadline));
            }
        }
    }

    /// Records a message that asks for an answer. Does not change an earlier message that still
    /// awaits its answer.
    pub(super) fn ask(&mut self, now: Duration, within: Duration, slack: Duration) {
        let sent = micros(now);
        self.asked = Some((sent, within));
        if self.awaited.is_none() {
            let deadline = now.saturating_add(within).saturating_add(slack);
            self.awaited = Some(Awaited::new(sent, self.told.clone(), deadline));
        }
    }

    /// Waits for the answer to a question until this time at least.
    pub(super) fn wait_until(&mut self, time: Duration) {
        if let Some(awaited) = &mut self.awaited {
            awaited.deadline = awaited.deadline.max(time);
        }
    }

    /// When the peer was last asked, if it has not answered yet.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        let asked = self.asked.filter(|_| self.awaited.is_some());
        asked.map(|(sent, _)| Duration::from_micros(sent))
    }

    /// Like [`ask`](Self::ask), but a single silence is enough to consider the peer down.
    pub(super) fn ask_for_life(&mut self, now: Duration, slack: Duration) {
        self.ask(now, Duration::ZERO, slack);
        self.expect_life();
        // Gives the peer time to answer this, even if an earlier answer is overdue.
        self.wait_until(now.saturating_add(slack));
    }

    /// Makes a single further silence enough to consider the peer down.
    pub(super) fn expect_life(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            awaited.silences = awaited.silences.max(SILENCES_MAX);
        }
    }

    /// Records that the peer is told of everything, which is `version`.
    pub(super) fn note_told(&mut self, version: &VersionVector, generation: u64) {
        self.told.clone_from(version);
        self.told_generation = generation;
        self.is_introduced = true;
    }

    /// Whether the awaited answer is late.
    #[cfg(test)]
    fn is_overdue(&self, now: Duration) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.deadline <= now)
    }

    /// Whether the peer has been silent for too long.
    pub(super) fn is_silent(&self) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.silences >= SILENCES_MAX)
    }

    /// Records that the peer is asked again, because the awaited answer is late. `slack` is how
    /// long an answer should take.
    pub(super) fn ask_again(&mut self, now: Duration, slack: Duration) {
        let (tries, silences) =
            self.awaited.take().map_or((0, 0), |awaited| (awaited.tries, awaited.silences));
        self.ask(now, Duration::ZERO, slack.saturating_mul(1 << tries.min(BACKOFF_DOUBLINGS_MAX)));
        if let Some(awaited) = &mut self.awaited {
            awaited.tries = tries.saturating_add(1);
            awaited.silences = silences.saturating_add(1);
        }
    }

    /// The echo to send to the peer.
    pub(super) fn echo(&self, now: Duration) -> Option<Echo> {
        let (life, sent, at) = self.heard?;
        Some(Echo { life, sent, held: micros(now.saturating_sub(at)) })
    }
}

#[cfg(test)]
mod tests;
