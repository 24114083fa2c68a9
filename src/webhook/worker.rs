//! The task that sends what is due.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, gauge, histogram};
use tokio::{
    task::{Id, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Sender,
    flight::{Boarded, Flights},
};
use crate::{
    control::{AttemptReport, Control, DueDelivery, Error, Verdict},
    telemetry::metrics::{WEBHOOK_ATTEMPT_SECONDS, WEBHOOK_ATTEMPTS_TOTAL, WEBHOOK_QUEUE_LENGTH},
};

/// How often the log is cut back and the queue measured.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(30);

/// Takes what is due out of the control plane's queue and sends it.
#[derive(Debug)]
pub struct Worker {
    control: Control,
    sender: Arc<Sender>,
    flights: Flights,
    attempts: JoinSet<i64>,
    /// Numbers in the queue of what is on its way.
    busy: HashSet<i64>,
    ids: std::collections::HashMap<Id, i64>,
}

impl Worker {
    /// Sends by `sender` what `control` has, unless `flights` ends it.
    #[must_use]
    pub fn new(control: Control, sender: Sender, flights: Flights) -> Self {
        Self {
            control,
            sender: Arc::new(sender),
            flights,
            attempts: JoinSet::new(),
            busy: HashSet::new(),
            ids: std::collections::HashMap::new(),
        }
    }

    /// Sends until `shutdown`. What is on its way then is broken off, and sent again after the next start.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let poll = Duration::from_millis(self.sender.config.poll_ms);
        let mut cleaned_up: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            if self.sender.config.enabled
                && let Err(error) = self.start_what_is_due().await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "The queue of webhooks cannot be read.");
            }
            if cleaned_up.is_none_or(|at| at.elapsed() >= CLEAN_UP_EVERY) {
                cleaned_up = Some(Instant::now());
                if let Err(error) = self.clean_up().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Old webhook deliveries stay for now.");
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended),
                () = self.control.webhooks_woken() => {}
                () = sleep(poll) => {}
            }
        }
    }

    async fn start_what_is_due(&mut self) -> Result<(), Error> {
        let config = &self.sender.config;
        let free = config.attempts_max.saturating_sub(self.busy.len());
        if free == 0 {
            return Ok(());
        }
        for due in self.control.due_webhooks(self.busy.clone(), config.per_target_max, free).await? {
            let (seq, control, sender) = (due.seq, self.control.clone(), Arc::clone(&self.sender));
            self.busy.insert(seq);
            let task = self.attempts.spawn(attempt(control, sender, self.flights.clone(), due));
            self.ids.insert(task.id(), seq);
        }
        Ok(())
    }

    fn ended(&mut self, ended: Result<(Id, i64), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, _)) => id,
            Err(error) => {
                tracing::error!(%error, "an attempt to send a webhook ended by a panic");
                error.id()
            }
        };
        if let Some(seq) = self.ids.remove(&id) {
            self.busy.remove(&seq);
        }
    }

    async fn clean_up(&self) -> Result<(), Error> {
        while self.control.clean_up_webhooks().await? {}
        gauge!(WEBHOOK_QUEUE_LENGTH).set(self.control.webhook_queue_length().await? as f64);
        Ok(())
    }
}

/// Sends, and writes down what became of it. Where that cannot be written it is sent again: at least once.
async fn attempt(control: Control, sender: Arc<Sender>, flights: Flights, due: DueDelivery) -> i64 {
    let began_us = now_us();
    let allowed = async { control.webhook_may_be_sent(due.seq).await.unwrap_or(false) };
    let report = match flights.aboard(due.integration_id, allowed, Box::pin(sender.attempt(&due))).await {
        Boarded::Done(report) => report,
        Boarded::Refused => return due.seq,
        Boarded::Ended => broken_off(&due, began_us),
    };
    let outcome = match report.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Dead => "dead",
        Verdict::Gone => "gone",
    };
    counter!(WEBHOOK_ATTEMPTS_TOTAL, "outcome" => outcome).increment(1);
    histogram!(WEBHOOK_ATTEMPT_SECONDS).record(Duration::from_micros(report.latency_us));
    tracing::debug!(
        integration_id = %due.integration_id,
        webhook_id = %due.webhook_id,
        event_id = %due.event_id,
        outcome,
        status = report.status,
        error = report.error,
        "webhook"
    );
    let mut pause = Duration::from_millis(100);
    while let Err(error) = control.report_webhook_attempt(report.clone(), sender.config.failing_max_s).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "What became of a webhook cannot be written down.");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
    due.seq
}

/// It may have arrived; it is sent again after the reactivation.
fn broken_off(due: &DueDelivery, began_us: i64) -> AttemptReport {
    AttemptReport {
        seq: due.seq,
        at_us: began_us,
        target: due.url.split('?').next().unwrap_or_default().to_owned(),
        address: None,
        status: None,
        error: Some("broken_off"),
        latency_us: u64::try_from(now_us() - began_us).unwrap_or(0),
        response: None,
        verdict: Verdict::Retry { at_us: began_us },
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
