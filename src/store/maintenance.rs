//! The background task that gives a store time for what can wait.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio_util::sync::CancellationToken;

use super::{Error, Maintenance, Store};

/// Calls [`Store::maintain`] every `interval` until `shutdown`, step after step where there is more to do. Between two
/// steps it rests as long as the step took, so that it never takes more than half a core. A failure is logged once,
/// and tried again after the interval.
pub async fn run(store: Arc<dyn Store>, interval: Duration, shutdown: CancellationToken) {
    let mut failing = false;
    let mut pause = interval;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let begun = Instant::now();
        let stepping = Arc::clone(&store);
        let step = tokio::task::spawn_blocking(move || stepping.maintain(now_us())).await;
        pause = match step {
            Ok(Ok(left)) => {
                failing = false;
                if left == Maintenance::More { begun.elapsed() } else { interval }
            }
            Ok(Err(error)) => {
                log(&error, &mut failing);
                interval
            }
            // A panic within a step; the runtime is gone when it was cancelled.
            Err(error) if error.is_panic() => {
                tracing::error!(error = &error as &dyn std::error::Error, "a maintenance step of the store panicked");
                interval
            }
            Err(_) => return,
        };
    }
}

fn log(error: &Error, failing: &mut bool) {
    if !std::mem::replace(failing, true) {
        let cause = error as &dyn std::error::Error;
        tracing::warn!(error = cause, "the store's maintenance failed; nothing is lost, it is tried again");
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
