//! Results that are on their way to one client: packet ids, and how many may be unacknowledged.

use std::{collections::VecDeque, num::NonZeroU16};

/// Packet ids of results at QoS 1 that the client has not acknowledged.
#[derive(Debug)]
pub(super) struct Unacked {
    ids: VecDeque<NonZeroU16>,
    last: u16,
    max: usize,
}

impl Unacked {
    /// At most `max` at once.
    pub(super) const fn new(max: usize) -> Self {
        Self { ids: VecDeque::new(), last: 0, max }
    }

    /// Whether one more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.ids.len() < self.max
    }

    /// A packet id that is not in use, and is from now on.
    pub(super) fn take(&mut self) -> NonZeroU16 {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last).filter(|id| !self.ids.contains(id)) {
                self.ids.push_back(id);
                return id;
            }
        }
    }

    /// The client has it, or will never get it. An id that is not in use is none of our business.
    pub(super) fn give_back(&mut self, id: NonZeroU16) {
        self.ids.retain(|known| *known != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // MQTT 5 §2.2.1: a packet id is not used again before it was acknowledged, and is never 0.
    #[test]
    fn ids_in_use_are_passed_over() {
        let mut unacked = Unacked::new(3);
        let first = unacked.take();
        unacked.last = u16::MAX;
        assert_eq!((first.get(), unacked.take().get()), (1, 2), "0 and the one in use are passed over");
        assert_eq!(unacked.take().get(), 3);
        assert!(!unacked.has_room());
        unacked.give_back(first);
        unacked.give_back(first);
        assert!(unacked.has_room());
    }
}
