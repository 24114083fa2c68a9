//! How far delivery has come, for those who wait until a receipt's readings can be read back.

use tokio::sync::watch;

/// Two positions in the spool that only rise. Clones watch the same delivery.
#[derive(Debug, Clone)]
pub struct Progress {
    sender: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    written: u64,
    delivered: u64,
}

impl Progress {
    pub(super) fn new(released: u64) -> Self {
        Self { sender: watch::Sender::new(State { written: released, delivered: released }) }
    }

    /// Everything up to this position can be read from the store, or is in quarantine.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.sender.borrow().written
    }

    /// Everything up to this position is durable in the store, or in quarantine, and no longer needed here.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.sender.borrow().delivered
    }

    /// Waits until what stands at `position` can be read from the store.
    pub async fn wait_written(&self, position: u64) {
        self.wait(|state| state.written >= position).await;
    }

    /// Waits until what stands at `position` is durable in the store.
    pub async fn wait_delivered(&self, position: u64) {
        self.wait(|state| state.delivered >= position).await;
    }

    async fn wait(&self, reached: impl Fn(State) -> bool) {
        // Its own sender keeps the channel open.
        self.sender.subscribe().wait_for(|state| reached(*state)).await.ok();
    }

    /// The store says that it has everything up to `position`, which may be less than was released once.
    pub(super) fn begin_at(&self, position: u64) {
        self.sender.send_replace(State { written: position, delivered: position });
    }

    pub(super) fn set_written(&self, position: u64) {
        self.sender.send_if_modified(|state| raise(&mut state.written, position));
    }

    pub(super) fn set_delivered(&self, position: u64) {
        self.sender.send_if_modified(|state| {
            raise(&mut state.written, position);
            raise(&mut state.delivered, position)
        });
    }
}

fn raise(value: &mut u64, to: u64) -> bool {
    let higher = to > *value;
    *value = to.max(*value);
    higher
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[tokio::test]
    async fn who_waits_is_told_and_nothing_goes_back() {
        let progress = Progress::new(10);
        let watcher = progress.clone();
        progress.set_written(20);
        progress.set_written(15);
        watcher.wait_written(20).await;
        assert_eq!((watcher.written(), watcher.delivered()), (20, 10));
        tokio::join!(watcher.wait_delivered(30), async { progress.set_delivered(30) });
        assert_eq!((watcher.written(), watcher.delivered()), (30, 30));
    }
}
