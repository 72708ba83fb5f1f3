//! A node's knowledge of one peer: its version, whether it hears and answers, and the round trip to it.
//!
//! Everything here is O(origins): queues to a peer hold positions in the logs, never copies.

use std::collections::VecDeque;
use std::time::Duration;

use super::replica::VersionVector;
use super::wire::{Echo, Fetch, micros};
use crate::message::NodeId;

/// The round trip to a peer: the median of the last few samples, so that a peer that slept for once
/// is not taken for one that is far away.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrip {
    /// The newest last.
    samples: VecDeque<Duration>,
    /// When that one was taken.
    sampled: Option<Duration>,
    median: Option<Duration>,
    variation: Duration,
}

const SAMPLES_MAX: usize = 8;

impl RoundTrip {
    /// How long an answer takes, if one has ever come.
    pub(super) fn estimate(&self) -> Option<Duration> {
        self.median
    }

    /// Whether there are too few samples to trust their median.
    pub(super) fn is_vague(&self) -> bool {
        self.samples.len() < SAMPLES_MAX / 2
    }

    /// By how much the slower ones exceed that.
    pub(super) fn variation(&self) -> Duration {
        self.variation
    }

    /// What was sent before the last sample was taken tells nothing new: a peer that slept answers
    /// all of it at once.
    fn sample(&mut self, now: Duration, sent: Duration, held: Duration) {
        if self.sampled.is_some_and(|sampled| sent < sampled) {
            return;
        }
        let Some(sample) = now.checked_sub(sent).and_then(|since| since.checked_sub(held)) else {
            return;
        };
        // Not later than what is sent right now says of itself.
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

/// Something that a peer was told and has not confirmed.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    /// When it was told, as the message says.
    sent: u64,
    /// The versions that this node told it of.
    told: VersionVector,
    /// When it is told again.
    pub(super) deadline: Duration,
    /// How often it was told again, for the backoff.
    pub(super) tries: u32,
    /// How often in a row it has not even been echoed, this time included until it is.
    silences: u32,
}

impl Awaited {
    fn new(sent: u64, told: VersionVector, deadline: Duration) -> Self {
        Self { sent, told, deadline, tries: 0, silences: 1 }
    }
}

/// After so many messages without any answer a peer is believed to be down.
const SILENCES_MAX: u32 = 2;

/// Whether a peer is believed to hear and to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    /// It left something unanswered; since when.
    Down(u64),
}

/// Another node, as seen from this one.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its place in the list of all nodes: the lowest is the best hub.
    pub(super) rank: usize,
    /// Its life, as far as it has spoken in this node's life.
    life: Option<u64>,
    /// The version that it claimed in that life.
    pub(super) known: VersionVector,
    /// The version that this node told it of. The peer fetches all that it lacks of that version.
    pub(super) told: VersionVector,
    /// The replica's generation when it was last told.
    pub(super) told_generation: u64,
    /// Whether this node sees to it that the peer has all that it has.
    pub(super) is_served: bool,
    /// Whether `told` means anything: it has been told what there was when the link began.
    pub(super) is_introduced: bool,
    /// The view (who is this node's hub, and whom has it lost) that it was last told.
    pub(super) view_told: u64,
    /// The newest message that came from it: its life, its time of sending, and when it came.
    heard: Option<(u64, u64, Duration)>,
    /// The newest message to it that it has echoed.
    echoed: Option<u64>,
    /// The last message that wanted an answer: when, and how soon.
    asked: Option<(u64, Duration)>,
    pub(super) awaited: Option<Awaited>,
    /// When it wants to be answered at the latest.
    pub(super) answer_at: Option<Duration>,
    /// Whether the answer shall ask it to prove that it hears this node.
    pub(super) is_doubted: bool,
    /// When it is asked for what it has and this node lacks.
    pub(super) fetch_at: Option<Duration>,
    /// The last fetch of it that was answered, and when it was sent.
    pub(super) answered: Option<(u64, Fetch, VersionVector)>,
    /// How often in a row it was asked in vain.
    pub(super) fruitless: u32,
    /// Its newest view that has come.
    pub(super) view: u64,
    /// The node that it takes for its hub.
    pub(super) hub: Option<NodeId>,
    /// The nodes that it cannot reach.
    pub(super) lost: Vec<NodeId>,
    /// Rises with every change of that.
    pub(super) lost_changes: u64,
    pub(super) round_trip: RoundTrip,
    /// The longest line that it takes, as it says.
    pub(super) line_bytes_max: Option<usize>,
    /// How many messages were too long for it.
    pub(super) unsent: u64,
    health: Health,
    /// How often it has gone down lately.
    falls: u32,
    /// Not to be made a hub before.
    pub(super) trusted_from: Duration,
}

/// How long a peer that has gone down a second time is not trusted as a hub; twice that after the
/// third time, and so on.
const DISTRUST: Duration = Duration::from_secs(1);
const DISTRUST_DOUBLINGS_MAX: u32 = 5;

/// A peer that answers but has not caught up is asked again after twice as long each time.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// After this long without a fall, earlier ones are forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The proof that a message gives about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is from the life that is known.
    Same,
    /// It is the first message of another life.
    Reborn,
    /// It may be from a life that is over, or from one that has just begun.
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
            fruitless: 0,
            view: 0,
            hub: None,
            lost: Vec::new(),
            lost_changes: 0,
            round_trip: RoundTrip::default(),
            line_bytes_max: None,
            unsent: 0,
            health: Health::Up,
            falls: 0,
            trusted_from: Duration::ZERO,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Its life, if it has spoken in this life of this node.
    pub(super) fn life(&self) -> Option<u64> {
        self.life
    }

    /// Whether it has spoken in this life of this node.
    pub(super) fn is_known(&self) -> bool {
        self.life.is_some()
    }

    /// A message has come: notes that, and finds out which life of the peer speaks.
    ///
    /// Messages of a life that is over may come late, and must not be taken for what the new life
    /// has. Two lives are told apart by what they echo: the later one has heard something that the
    /// earlier one never can have.
    pub(super) fn hear(
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
            // What was told before its first word counts if that life has heard it, and is awaited.
            let is_first = self.life.is_none() && echo.is_some();
            self.is_introduced &= is_first;
            self.awaited.take_if(|_| !is_first);
            self.life = Some(life);
            self.known = VersionVector::default();
            self.view = 0;
            (self.fetch_at, self.fruitless) = (None, 0);
        }
        if let Some(echo) = echo {
            self.hear_echo(now, echo);
        }
        standing
    }

    /// A message of an unclear life has come: the peer is asked to prove that it hears this node. A
    /// question with a time of sending that it has echoed already would prove nothing.
    pub(super) fn doubt(&mut self, now: Duration) {
        let wait = Duration::from_micros(u64::from(self.echoed == Some(micros(now))));
        (self.answer_at, self.is_doubted) = (Some(now.saturating_add(wait)), true);
    }

    fn hear_echo(&mut self, now: Duration, echo: Echo) {
        if self.echoed.is_some_and(|newest| echo.sent <= newest) {
            return;
        }
        self.echoed = Some(echo.sent);
        let (sent, held) = (Duration::from_micros(echo.sent), Duration::from_micros(echo.held));
        self.round_trip.sample(now, sent, held);
    }

    /// Whether this node has just found out that the peer is back: it answers what it was sent
    /// after it went down.
    pub(super) fn rise(&mut self, now: Duration) -> bool {
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

    /// It does not answer. It will be told of what it is owed when it is back.
    pub(super) fn fall(&mut self, now: Duration) {
        let forgiven = now.saturating_sub(self.trusted_from) > FORGIVEN_AFTER;
        self.falls = if forgiven { 1 } else { self.falls.saturating_add(1) };
        self.health = Health::Down(micros(now));
        (self.awaited, self.answer_at, self.fetch_at) = (None, None, None);
        self.is_introduced = false;
        self.hub = None;
    }

    /// Notes its view: whom it takes for its hub, and whom it cannot reach. An earlier one that was
    /// overtaken is nothing.
    pub(super) fn look_at(&mut self, view: u64, hub: Option<&NodeId>, lost: &[NodeId]) {
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

    /// Notes the version that it claims: this may be the awaited acknowledgement.
    pub(super) fn confirm(&mut self, now: Duration, have: &VersionVector, slack: Duration) {
        self.known.join(have);
        let echoed = self.echoed;
        let Some(awaited) = self.awaited.as_mut().filter(|awaited| echoed >= Some(awaited.sent))
        else {
            return;
        };
        awaited.silences = 0;
        if self.known.covers(&awaited.told) {
            self.awaited = None;
            if let Some((sent, within)) = self.asked.filter(|(sent, _)| echoed < Some(*sent)) {
                // Something was told later than what has just been confirmed.
                let deadline = Duration::from_micros(sent).saturating_add(within);
                let deadline = deadline.saturating_add(slack).max(now);
                self.awaited = Some(Awaited::new(sent, self.told.clone(), deadline));
            }
        }
    }

    /// A message that wants an answer is being sent. Without effect on what is awaited already.
    pub(super) fn ask(&mut self, now: Duration, within: Duration, slack: Duration) {
        let sent = micros(now);
        self.asked = Some((sent, within));
        if self.awaited.is_none() {
            let deadline = now.saturating_add(within).saturating_add(slack);
            self.awaited = Some(Awaited::new(sent, self.told.clone(), deadline));
        }
    }

    /// When it was last asked, if it has not answered yet.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        let asked = self.asked.filter(|_| self.awaited.is_some());
        asked.map(|(sent, _)| Duration::from_micros(sent))
    }

    /// As [`ask`](Self::ask), but one silence is enough.
    pub(super) fn ask_for_life(&mut self, now: Duration, slack: Duration) {
        self.ask(now, Duration::ZERO, slack);
        self.expect_life();
        if let Some(awaited) = &mut self.awaited {
            // Whatever it owed before, it has the time to answer this.
            awaited.deadline = awaited.deadline.max(now.saturating_add(slack));
        }
    }

    /// One silence is enough for what is awaited.
    pub(super) fn expect_life(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            awaited.silences = awaited.silences.max(SILENCES_MAX);
        }
    }

    /// It is being told of everything there is, which is `version`.
    pub(super) fn tell(&mut self, version: &VersionVector, generation: u64) {
        self.told.clone_from(version);
        self.told_generation = generation;
        self.is_introduced = true;
    }

    /// Whether what was awaited has not come in time.
    #[cfg(test)]
    fn is_overdue(&self, now: Duration) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.deadline <= now)
    }

    /// Whether it has been silent for too long.
    pub(super) fn is_silent(&self) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.silences >= SILENCES_MAX)
    }

    /// What was awaited has not come in time and is being asked for again; `slack` is how long an
    /// answer should take.
    pub(super) fn ask_again(&mut self, now: Duration, slack: Duration) {
        let (tries, silences) =
            self.awaited.take().map_or((0, 0), |awaited| (awaited.tries, awaited.silences));
        self.ask(now, Duration::ZERO, slack.saturating_mul(1 << tries.min(BACKOFF_DOUBLINGS_MAX)));
        if let Some(awaited) = &mut self.awaited {
            awaited.tries = tries.saturating_add(1);
            awaited.silences = silences.saturating_add(1);
        }
    }

    /// The echo to send to it.
    pub(super) fn echo(&self, now: Duration) -> Option<Echo> {
        let (life, sent, at) = self.heard?;
        Some(Echo { life, sent, held: micros(now.saturating_sub(at)) })
    }
}

#[cfg(test)]
mod tests;
