//! One node's state of a peer: the peer's lives, the queue of items for it, the deadlines of
//! packets, and the failure detector.
//!
//! The invariants:
//!
//! * The content of a packet counts only between two lives that know each other, and counts once. A
//!   node ignores the content of a packet that it has had, of one older than the newest 128, and of
//!   one to or from an earlier life. A late packet can make an earlier life look new. The present
//!   life then shows that it is the present one: it names a packet that this node sent after that
//!   late packet arrived.
//! * A node puts its settings into its packets until it knows that the peer knows its present
//!   life. It puts them at least into the first packet to each new life of the peer, even if that
//!   life already names this node's present life. The peer's new life may have learned of it from a
//!   packet without settings that was meant for the former life.
//! * A packet with items that must arrive is a *demand*: it wants an answer. The node asks the peer
//!   again, less and less often, until an answer comes, or until the peer counts as down and
//!   nothing waits for it. A peer that does not answer for a while counts as down.
//! * An answer to a demand has all acknowledgements that the demand caused, or a packet before it
//!   had them. So anything that an answer does not acknowledge was lost, or is late.
//! * New items linger: they wait for `--linger`, and for an answer that is under way. So under load
//!   a round trip is one packet each way. Urgent items wait for a fraction of `--linger` only. Lazy
//!   items go alone only if nothing else goes for a while. A packet takes along all items that
//!   wait, as far as they fit.

use std::collections::VecDeque;
use std::time::Duration;

use crate::failure_detector::FailureDetector;
use crate::queue::Queue;
use crate::settings::PeerSettings;
use crate::wire::{Packet, PartitionId};

/// How long a lazy item may wait.
pub(crate) const LAZY: Duration = Duration::from_millis(50);

/// Number of former lives of a peer that a node remembers.
const REMEMBERED: usize = 16;

/// A fraction of a time.
pub(crate) fn part(time: Duration, of: u32) -> Duration {
    time.checked_div(of).unwrap_or(time)
}

/// The meaning of a packet for its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// True if the content counts.
    pub(crate) counts: bool,
    /// True if the packet is the first of a new life of the peer.
    pub(crate) is_new_life: bool,
    /// True if no demand is open any more.
    pub(crate) is_answered: bool,
    /// True if the peer counted as down, and is up.
    pub(crate) is_back: bool,
    /// The peer's settings, if they differ from those that it named before.
    pub(crate) settings: Option<PeerSettings>,
}

/// The state of one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// The present life of the peer, if a packet of it has come.
    life: Option<u64>,
    former: VecDeque<u64>,
    incarnation: Option<u64>,
    /// Number of packets that had been sent to the peer when the first one of its present life
    /// came.
    sent_before_life: u64,
    /// True if the peer's present life knows this node's life, and has been sent a packet.
    is_introduced: bool,
    /// The settings that the peer named last, in any life.
    settings: Option<PeerSettings>,
    /// True if the peer's present life has said that it holds nothing of any partition.
    reported_no_records: bool,
    /// Number of packets that were sent to the peer.
    number: u64,
    /// The number of the newest packet that came, and a bit for it and each of the 127 before: 1 if
    /// that one came.
    newest: u64,
    came: u128,
    /// The newest packet of the peer that wanted an answer.
    echo: u64,
    /// The newest demand of this node that the peer is known to have received.
    echoed: u64,
    detector: FailureDetector,
    pub(crate) queue: Queue,
    /// The time since which an item lingers.
    lingering_since: Option<Duration>,
    /// Items that linger wait for the answer to this demand, but no longer than until this time.
    hold: Option<(u64, Duration)>,
    /// The time at which a packet to the peer is due.
    due_at: Option<Duration>,
    /// True if the next packet must want an answer, even without items.
    is_probing: bool,
}

impl Link {
    /// The incarnation of the peer's records, if the peer has told it.
    pub(crate) fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    pub(crate) fn life(&self) -> Option<u64> {
        self.life
    }

    /// True if the peer is known to know this node's life, and has been sent its settings.
    pub(crate) fn is_introduced(&self) -> bool {
        self.is_introduced
    }

    /// True if the peer said that it holds nothing of any partition when its present life began,
    /// and no later packet contradicts that.
    pub(crate) fn reported_no_records(&self) -> bool {
        self.reported_no_records
    }

    /// Notes that the peer leads a partition, or has said that it holds one.
    pub(crate) fn note_records(&mut self) {
        self.reported_no_records = false;
    }

    /// Number of packets that were sent to the peer.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// True if the peer is suspected to be down.
    pub(crate) fn is_down(&self) -> bool {
        self.detector.is_down()
    }

    /// The time since which the peer is suspected to be down.
    pub(crate) fn down_since(&self) -> Option<Duration> {
        self.detector.down_since()
    }

    /// The time since which an answer of the peer is late.
    pub(crate) fn silent_since(&self) -> Option<Duration> {
        self.detector.silent_since()
    }

    /// The time after which a demand without an answer is repeated.
    pub(crate) fn retry_after(&self) -> Duration {
        self.detector.retry_after()
    }

    /// Takes a packet, for this node's life `own`. An answer that is wanted at once may still wait
    /// for `pause`.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        packet: &Packet,
        own: u64,
        pause: Duration,
    ) -> Received {
        let mut received = Received::default();
        let former = self.former.iter().position(|life| *life == packet.life);
        if let Some(at) = former {
            if packet.to != Some(own) || packet.echo <= self.sent_before_life {
                return received;
            }
            // The sender has received a packet that this node sent after the first one of
            // `self.life` came. So the sender lived after that life began, and is the later one:
            // the packets of `self.life` came late.
            self.former.remove(at);
        }
        if self.life != Some(packet.life) {
            received.is_new_life = true;
            self.begin(packet);
            if former.is_some() {
                // Some packets of this life have counted already. None of them may count again.
                (self.newest, self.came) = (packet.number.saturating_sub(1), u128::MAX);
            }
        }
        if !self.is_first_time(packet.number) {
            return received;
        }
        let before = self.settings;
        self.settings = packet.settings.or(before);
        received.settings = self.settings.filter(|_| self.settings != before);
        if packet.settings.is_some() {
            self.reported_no_records = !packet.has_records;
        }
        if let Some(within) = packet.within {
            self.echo = self.echo.max(packet.number);
            self.schedule_by(now.saturating_add(pause.max(Duration::from_micros(within))));
        }
        if packet.to != Some(own) {
            // The sender does not know this node's life. It must get an answer that names it.
            self.schedule_by(now);
            return received;
        }
        received.counts = true;
        self.is_introduced |= self.number > self.sent_before_life;
        self.take_echo(now, packet.echo, &mut received);
        received
    }

    fn begin(&mut self, packet: &Packet) {
        let former = self.life.take();
        let mut next = Self {
            number: self.number,
            sent_before_life: self.number,
            former: std::mem::take(&mut self.former),
            life: Some(packet.life),
            incarnation: Some(packet.incarnation),
            settings: self.settings,
            detector: std::mem::take(&mut self.detector),
            ..Self::default()
        };
        next.former.extend(former);
        while next.former.len() > REMEMBERED {
            next.former.pop_front();
        }
        let queue = std::mem::take(&mut self.queue);
        next.queue = Queue {
            appends: queue.appends,
            sends: queue.sends,
            polls: queue.polls,
            holdings: queue.holdings,
            ..Queue::default()
        };
        next.lingering_since = self.lingering_since;
        next.echoed = self.echoed;
        next.detector.peer_restarted();
        *self = next;
    }

    /// True if a packet comes for the first time. A packet so old that this cannot be known does
    /// not count.
    fn is_first_time(&mut self, number: u64) -> bool {
        if number > self.newest {
            let shift = u32::try_from(number.saturating_sub(self.newest)).unwrap_or(u32::MAX);
            let before = self.came.checked_shl(shift).unwrap_or(0);
            (self.newest, self.came) = (number, before | 1);
            return true;
        }
        let age = u32::try_from(self.newest.saturating_sub(number)).unwrap_or(u32::MAX);
        let bit = 1_u128.checked_shl(age).unwrap_or(0);
        let is_new = bit != 0 && self.came & bit == 0;
        self.came |= bit;
        is_new
    }

    fn take_echo(&mut self, now: Duration, echo: u64, received: &mut Received) {
        self.detector.measure(now, echo);
        if echo <= self.echoed || echo > self.number {
            return;
        }
        self.echoed = echo;
        if self.hold.is_some_and(|(number, _)| number <= echo) {
            self.hold = None;
        }
        let answered = self.detector.answered(now, echo);
        (received.is_answered, received.is_back) = (answered.is_all, answered.is_back);
    }

    /// Makes a packet to the peer due at this time at the latest.
    pub(crate) fn schedule_by(&mut self, at: Duration) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    /// Notes that an item that lingers is in the queue.
    pub(crate) fn start_linger(&mut self, now: Duration) {
        self.lingering_since.get_or_insert(now);
    }

    /// True if an item that lingers is in the queue.
    pub(crate) fn lingers(&self) -> bool {
        self.lingering_since.is_some()
    }

    /// Asks the peer for an answer, even if the queue is empty.
    pub(crate) fn probe(&mut self, now: Duration) {
        if !self.detector.is_waiting() && !self.is_probing {
            self.is_probing = true;
            self.schedule_by(now);
        }
    }

    /// The time at which the next packet to the peer is due.
    pub(crate) fn due(&self, linger: Duration) -> Option<Duration> {
        let may = !self.is_down() && (self.life.is_some() || !self.detector.is_waiting());
        let lingering = self.lingering_since.filter(|_| may).map(|since| {
            let at = since.saturating_add(linger);
            self.hold.map_or(at, |(_, until)| at.max(until))
        });
        lingering.into_iter().chain(self.due_at).min()
    }

    /// The time at which the open demand counts as lost.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.detector.deadline()
    }

    /// No answer has come in time. A peer that is down is asked again only if this node needs it.
    /// Returns true if the peer is down from now on.
    pub(crate) fn time_out(&mut self, now: Duration, is_needed: bool) -> bool {
        let timed_out = self.detector.time_out(now, is_needed);
        self.hold = None;
        if timed_out.asks_again {
            self.is_probing = true;
            self.schedule_by(now);
        }
        timed_out.is_failure
    }

    /// True if a packet is due now even without items.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.due_at.is_some_and(|at| at <= now) || self.is_probing || self.life.is_none()
    }

    /// The queue has no item that lingers after all.
    pub(crate) fn clear_linger(&mut self) {
        self.lingering_since = None;
    }

    /// Queues an acknowledgement.
    pub(crate) fn queue_ack(&mut self, partition: PartitionId) {
        self.queue.acks.insert(partition, self.echo);
    }

    /// Makes the head of the next packet, whose items have left the queue. `within`: how soon the
    /// peer must answer the items, if at all. `holds`: true if items that linger wait for that
    /// answer.
    pub(crate) fn head(
        &mut self,
        now: Duration,
        (own_life, own_incarnation): (u64, u64),
        within: Option<Duration>,
        holds: bool,
    ) -> Packet {
        self.number = self.number.saturating_add(1);
        let is_probe = std::mem::take(&mut self.is_probing) || self.life.is_none();
        let within = if is_probe { Some(Duration::ZERO) } else { within };
        (self.lingering_since, self.due_at) = (None, None);
        if let Some(within) = within {
            self.await_answer(now, within, holds);
        }
        // The demands whose acknowledgements did not fit are answered later.
        let complete = self.queue.acks.oldest_demand().map(|demand| demand.saturating_sub(1));
        Packet {
            life: own_life,
            incarnation: own_incarnation,
            to: self.life,
            number: self.number,
            within: within.map(|within| u64::try_from(within.as_micros()).unwrap_or(u64::MAX)),
            echo: complete.map_or(self.echo, |complete| complete.min(self.echo)),
            ..Packet::default()
        }
    }

    fn await_answer(&mut self, now: Duration, within: Duration, holds: bool) {
        self.detector.demand(now, self.number, within);
        if holds {
            let slack = Duration::from_millis(1);
            let until = now.saturating_add(self.detector.round_trip()).saturating_add(slack);
            self.hold = Some((self.number, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    /// The first packet of a life, with its settings.
    fn introduction(life: u64, has_records: bool) -> Packet {
        let settings = Some(Config::default().peer_settings());
        Packet { life, number: 1, settings, has_records, ..Packet::default() }
    }

    /// This node restarted. A packet of the peer's earlier life comes after one of its present
    /// life.
    #[test]
    fn a_life_that_packets_of_an_earlier_one_overtook_is_heard_again() {
        let (mut link, now, own) = (Link::default(), Duration::ZERO, 1);
        let receive =
            |link: &mut Link, packet: &Packet| link.receive(now, packet, own, Duration::ZERO);
        let ask = |link: &mut Link| {
            link.probe(now);
            link.head(now, (own, 5), Some(Duration::ZERO), true)
        };
        let of =
            |life, number, echo| Packet { life, number, echo, to: Some(own), ..Packet::default() };
        let (earlier, present) = (2, 3);
        assert!(receive(&mut link, &introduction(present, false)).is_new_life);
        let first = ask(&mut link);
        let late = Packet { to: Some(99), number: 40, ..introduction(earlier, false) };
        assert!(receive(&mut link, &late).is_new_life);
        // The sender has no packet that was sent after the late one came, so this proves nothing.
        assert_eq!(receive(&mut link, &of(present, 2, first.number)), Received::default());
        let second = ask(&mut link);
        assert_eq!(second.to, Some(earlier));
        let received = receive(&mut link, &of(present, 3, second.number));
        assert!(
            received.is_new_life && received.counts && link.life() == Some(present),
            "{received:?}"
        );
        // A packet that has counted comes again.
        for number in [1, 2, 3] {
            assert_eq!(
                receive(&mut link, &of(present, number, second.number)),
                Received::default()
            );
        }
        assert_eq!(receive(&mut link, &Packet { number: 41, ..late }), Received::default());
        assert_eq!(receive(&mut link, &of(earlier, 42, second.number)), Received::default());
    }

    #[test]
    fn a_peer_holds_nothing_only_if_its_present_life_said_so() {
        let mut link = Link::default();
        let mut receive = |packet: &Packet| {
            let received = link.receive(Duration::ZERO, packet, 1, Duration::ZERO);
            assert!(received.is_new_life);
            link.reported_no_records()
        };
        assert!(receive(&introduction(2, false)));
        assert!(!receive(&introduction(3, true)));
        assert!(receive(&introduction(4, false)));
        assert!(!receive(&Packet { life: 5, number: 1, ..Packet::default() }));
        assert!(receive(&introduction(6, false)));
        link.note_records();
        assert!(!link.reported_no_records());
    }
    const OWN: u64 = 1;
    const LIFE: u64 = 2;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A link to a peer that knows this node.
    fn introduced() -> Link {
        let mut link = Link::default();
        link.receive(ms(0), &introduction(LIFE, true), OWN, ms(0));
        let question = link.head(ms(0), (OWN, 5), Some(ms(0)), false);
        let answer = answer(2, question.number);
        assert!(link.receive(ms(10), &answer, OWN, ms(0)).counts && link.is_introduced());
        link
    }

    fn answer(number: u64, echo: u64) -> Packet {
        Packet { life: LIFE, number, echo, to: Some(OWN), ..Packet::default() }
    }

    #[test]
    fn each_of_the_newest_128_packets_counts_once_and_older_ones_never() {
        let mut link = introduced();
        let mut counts = |number| link.receive(ms(20), &answer(number, 0), OWN, ms(0)).counts;
        assert!(counts(200) && !counts(200));
        for (number, is_new) in [(199, true), (199, false), (73, true), (73, false), (72, false)] {
            assert_eq!(counts(number), is_new, "{number}");
        }
        assert!(counts(1_000) && !counts(200) && counts(999));
    }

    #[test]
    fn a_packet_for_another_life_of_this_node_is_answered_at_once_and_does_not_count() {
        let mut link = introduced();
        let packet = Packet { to: Some(99), ..answer(3, 0) };
        assert!(!link.receive(ms(20), &packet, OWN, ms(0)).counts);
        assert_eq!((link.due(ms(5)), link.is_due(ms(20))), (Some(ms(20)), true));
    }

    #[test]
    fn a_question_is_answered_in_the_time_that_it_grants_and_names_itself_in_the_answer() {
        for (within, pause, due) in [(0, 0, 20), (0, 3, 23), (50_000, 3, 70)] {
            let mut link = introduced();
            let packet = Packet { within: Some(within), ..answer(7, 0) };
            link.receive(ms(20), &packet, OWN, ms(pause));
            assert_eq!(link.due(ms(5)), Some(ms(due)));
            assert_eq!(link.head(ms(due), (OWN, 5), None, false).echo, 7);
            assert_eq!(link.due(ms(5)), None, "the packet was the answer");
        }
    }

    #[test]
    fn a_demand_is_answered_once_all_its_acknowledgements_have_left() {
        let mut link = introduced();
        for (number, partition) in [(7, 1), (9, 2)] {
            let packet = Packet { within: Some(0), ..answer(number, 0) };
            link.receive(ms(20), &packet, OWN, ms(0));
            link.queue_ack(partition);
            // The newest state of the first partition answers both demands.
            link.queue_ack(1);
        }
        let mut echo = || {
            let echo = link.head(ms(20), (OWN, 5), None, false).echo;
            link.queue.acks.pop();
            echo
        };
        assert_eq!([echo(), echo(), echo()], [6, 8, 9]);
    }

    #[test]
    fn items_linger_and_wait_for_an_answer_that_is_under_way() {
        let mut link = introduced();
        link.start_linger(ms(20));
        link.start_linger(ms(22));
        assert_eq!(link.due(ms(5)), Some(ms(25)), "the first item counts");
        let question = link.head(ms(25), (OWN, 5), Some(ms(0)), true);
        link.start_linger(ms(26));
        // The round trip took 10 ms.
        assert_eq!(link.due(ms(5)), Some(ms(36)));
        let received = link.receive(ms(30), &answer(3, question.number), OWN, ms(0));
        assert!(received.is_answered);
        assert_eq!(link.due(ms(5)), Some(ms(31)), "the answer came");
        link.clear_linger();
        assert_eq!(link.due(ms(5)), None);
    }

    #[test]
    fn a_peer_that_never_answers_is_asked_again_until_it_is_down_and_is_back_with_an_answer() {
        let mut link = introduced();
        let (mut now, mut asked) = (ms(20), 0);
        link.probe(now);
        let question = loop {
            let question = link.head(now, (OWN, 5), None, false);
            assert_eq!(question.within, Some(0), "a probe wants an answer");
            asked += 1;
            now = link.deadline().unwrap();
            assert!(!link.is_down() && now < ms(5_000));
            if link.time_out(now, true) {
                break question;
            }
        };
        assert!(asked > 1 && link.is_down());
        // Items wait as long as the peer is down.
        link.start_linger(ms(30_000));
        let received = link.receive(ms(30_000), &answer(3, question.number), OWN, ms(0));
        assert!(received.is_back && received.is_answered && !link.is_down(), "{received:?}");
    }
}
