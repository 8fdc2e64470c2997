//! Wires: the ways between hosts, one for each direction, with their links, cuts, and what they are busy with.
//!
//! A wire decides the fate of each packet when it is sent (lost, or when it arrives); whether it is cut, or the host
//! at its end is down, is asked again at the arrival. Within a host there is no wire: what is sent there arrives now.

use std::collections::BTreeMap;

use super::Link;
use crate::sim::HostId;
use crate::sys::random::Random;

/// A datagram that would wait for so long until the wire is free finds its queue full.
const LONGEST_QUEUE_NS: u64 = 1_000_000_000;

pub(super) struct Wires {
    random: Random,
    in_order: bool,
    default: Link,
    wires: BTreeMap<(HostId, HostId), Wire>,
}

#[derive(Default)]
struct Wire {
    link: Option<Link>,
    cut: bool,
    /// When all that was sent so far has left.
    free_ns: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Arrives { at_ns: u64 },
    Lost,
}

impl Wires {
    pub(super) fn new(random: Random) -> Self {
        Self { random, in_order: false, default: Link::new(), wires: BTreeMap::new() }
    }

    pub(super) fn set_in_order(&mut self, on: bool) {
        self.in_order = on;
    }

    pub(super) fn set_default_link(&mut self, link: Link) {
        self.default = link;
    }

    pub(super) fn set_link(&mut self, from: HostId, to: HostId, link: Link) {
        self.wires.entry((from, to)).or_default().link = Some(link);
    }

    pub(super) fn set_cut(&mut self, from: HostId, to: HostId, cut: bool) {
        self.wires.entry((from, to)).or_default().cut = cut;
    }

    pub(super) fn mend_all(&mut self) {
        self.wires.values_mut().for_each(|wire| wire.cut = false);
    }

    /// Part of a stream, or of what keeps one going. `bytes` are those that the bandwidth counts.
    pub(super) fn segment(&mut self, from: HostId, to: HostId, bytes: usize, now_ns: u64) -> Passage {
        self.pass(from, to, bytes, now_ns, u64::MAX)
    }

    /// A datagram: how it passes, and its double if it gets one.
    pub(super) fn datagram(
        &mut self,
        from: HostId,
        to: HostId,
        bytes: usize,
        now_ns: u64,
    ) -> (Passage, Option<Passage>) {
        let first = self.pass(from, to, bytes, now_ns, LONGEST_QUEUE_NS);
        if from == to || self.in_order || first == Passage::Lost {
            return (first, None);
        }
        let duplication = self.link(from, to).duplication;
        let doubled = self.random.chance(duplication);
        (first, doubled.then(|| self.pass(from, to, bytes, now_ns, LONGEST_QUEUE_NS)))
    }

    /// How many of `bytes` go in one packet: mostly all, now and then some.
    pub(super) fn cut_up(&mut self, bytes: usize, within_host: bool) -> usize {
        if self.in_order || within_host || bytes < 2 || !self.random.chance(0.25) {
            return bytes;
        }
        self.random.within(1..=bytes as u64) as usize
    }

    pub(super) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        from != to && self.wires.get(&(from, to)).is_some_and(|wire| wire.cut)
    }

    fn link(&self, from: HostId, to: HostId) -> &Link {
        self.wires.get(&(from, to)).and_then(|wire| wire.link.as_ref()).unwrap_or(&self.default)
    }

    fn pass(&mut self, from: HostId, to: HostId, bytes: usize, now_ns: u64, patience_ns: u64) -> Passage {
        if from == to {
            return Passage::Arrives { at_ns: now_ns };
        }
        let wire = self.wires.entry((from, to)).or_default();
        let link = wire.link.as_ref().unwrap_or(&self.default);
        if wire.cut {
            return Passage::Lost;
        }
        let mut leaves_ns = now_ns;
        if let Some(bytes_per_second) = link.bytes_per_second {
            let begins_ns = wire.free_ns.max(now_ns);
            if begins_ns - now_ns > patience_ns {
                return Passage::Lost;
            }
            let busy_ns = u128::from(bytes as u64) * 1_000_000_000 / u128::from(bytes_per_second);
            leaves_ns = begins_ns.saturating_add(u64::try_from(busy_ns).unwrap_or(u64::MAX));
            wire.free_ns = leaves_ns;
        }
        if self.in_order {
            return Passage::Arrives { at_ns: leaves_ns.saturating_add(*link.latency_ns.start()) };
        }
        if self.random.chance(link.loss) {
            return Passage::Lost;
        }
        let mut travels_ns = self.random.within(link.latency_ns.clone());
        if self.random.chance(link.reordering) {
            let longest_ns = *link.latency_ns.end();
            travels_ns += self.random.within(longest_ns..=longest_ns * 4);
        }
        Passage::Arrives { at_ns: leaves_ns.saturating_add(travels_ns) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);

    fn wires(link: Link) -> Wires {
        let mut wires = Wires::new(Random::new(7));
        wires.set_default_link(link);
        wires
    }

    #[test]
    fn in_order_a_packet_takes_the_shortest_latency_and_is_never_lost() {
        let mut wires = wires(Link::new().loss(1.0).duplication(1.0).reordering(1.0));
        wires.set_in_order(true);
        assert_eq!(wires.datagram(A, B, 10, 5), (Passage::Arrives { at_ns: 100_005 }, None));
    }

    #[test]
    fn a_narrow_link_passes_one_packet_after_the_other() {
        let latency = Duration::from_nanos(10);
        let mut wires = wires(Link::new().bandwidth(1_000_000_000).latency(latency..=latency));
        assert_eq!(wires.segment(A, B, 100, 0), Passage::Arrives { at_ns: 110 });
        assert_eq!(wires.segment(A, B, 50, 20), Passage::Arrives { at_ns: 160 });
        assert_eq!(wires.segment(B, A, 50, 20), Passage::Arrives { at_ns: 80 }, "the other direction is free");
    }

    #[test]
    fn a_datagram_does_not_wait_in_an_endless_queue() {
        let mut wires = wires(Link::new().bandwidth(1000));
        assert_ne!(wires.datagram(A, B, 1001, 0).0, Passage::Lost);
        assert_eq!(wires.datagram(A, B, 1, 0).0, Passage::Lost);
        assert_ne!(wires.segment(A, B, 1, 0), Passage::Lost);
    }

    #[test]
    fn losses_are_as_likely_as_the_link_says() {
        let mut wires = wires(Link::new().loss(0.1));
        let lost = (0..10_000).filter(|_| wires.segment(A, B, 1, 0) == Passage::Lost).count();
        assert!((900..1100).contains(&lost), "{lost}");
    }
}
