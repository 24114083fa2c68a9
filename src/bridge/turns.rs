//! Turns: batches are begun in the order in which their messages came, although each is prepared on its own. So the
//! later of two values for one key stays the later one, also when the first had to be tried again.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Gives turns out, one after the other.
#[derive(Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Queue>>);

/// The turns that have not passed, the first of them first.
#[derive(Debug, Default)]
struct Queue {
    first: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    is_over: bool,
    come: Arc<Notify>,
}

/// The turn of one message. Passed on when it is dropped at the latest.
#[derive(Debug)]
pub(super) struct Turn {
    number: u64,
    come: Arc<Notify>,
    queue: Arc<Mutex<Queue>>,
}

impl Turns {
    /// The turn after all that were given out before.
    pub(super) fn next(&self) -> Turn {
        let mut queue = self.0.lock();
        let come = Arc::new(Notify::new());
        if queue.waiting.is_empty() {
            come.notify_one();
        }
        queue.waiting.push_back(Waiting { is_over: false, come: Arc::clone(&come) });
        let number = queue.first + queue.waiting.len() as u64 - 1;
        Turn { number, come, queue: Arc::clone(&self.0) }
    }
}

impl Turn {
    /// Waits until all turns before this one have passed. Once for each turn.
    pub(super) async fn come(&self) {
        self.come.notified().await;
    }

    /// Lets the next one begin, once all before have passed, too. A second time it does nothing.
    pub(super) fn pass(&self) {
        let mut queue = self.queue.lock();
        let place = self.number.checked_sub(queue.first).and_then(|place| usize::try_from(place).ok());
        if let Some(turn) = place.and_then(|place| queue.waiting.get_mut(place)) {
            turn.is_over = true;
        }
        let was_first = queue.first;
        while queue.waiting.front().is_some_and(|turn| turn.is_over) {
            queue.waiting.pop_front();
            queue.first += 1;
        }
        if let Some(next) = queue.waiting.front().filter(|_| queue.first > was_first) {
            next.come.notify_one();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pass();
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    /// Whether its turn has come. Asked again only if not.
    async fn has_come(turn: &Turn) -> bool {
        let mut coming = pin!(turn.come());
        std::future::poll_fn(|cx| Poll::Ready(coming.as_mut().poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn a_turn_comes_when_all_before_have_passed() {
        let turns = Turns::default();
        let (first, second, third) = (turns.next(), turns.next(), turns.next());
        assert!(has_come(&first).await && !has_come(&second).await && !has_come(&third).await);
        // Given up before it came: that does not let the third overtake the first.
        drop(second);
        assert!(!has_come(&third).await);
        first.pass();
        assert!(has_come(&third).await);
        first.pass();
        let fourth = turns.next();
        assert!(!has_come(&fourth).await);
        drop((first, third));
        assert!(has_come(&fourth).await);
        drop(fourth);
        assert!(has_come(&turns.next()).await);
    }
}
