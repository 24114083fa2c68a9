//! The way in: admit → parse → validate → append → answer.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    BatchResult, Budget, Config, Refused, Rejected, RejectedSink, Submission, Transport,
    outcome::Meters,
    parse::{self, Parsed, Unreadable},
    persist::Persist,
    resend::{BatchKey, Resends},
    validate::{Judge, Rules, Verdict, Window},
};
use crate::{
    auth::{Cause, Pass, Principal},
    journal::{Journal, Stored},
    model::{
        Contents, IntegrationId, MetricTable, ProblemCode, RequestId,
        record::{self, RecordHeader},
    },
    spool::{AppendError, Writer},
};

/// The one way in, shared by both edges. Clones share everything.
#[derive(Debug, Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    metrics: MetricTable,
    writer: Writer,
    budget: Budget,
    resends: Resends,
    meters: Meters,
    /// Told what every stored batch holds.
    journal: Option<Arc<dyn Journal>>,
    /// Where rejected entries go of integrations that keep them.
    rejected: Option<Arc<dyn RejectedSink>>,
    /// Verdicts to be used again; as many as were ever needed at once, and that is one a thread.
    spare: Mutex<Vec<Verdict>>,
}

/// A judged batch on its way into the spool.
struct Batch {
    record: Vec<u8>,
    integration_id: IntegrationId,
    received_at_us: i64,
    /// What it holds, where somebody wants to know.
    contents: Option<Contents>,
    key: BatchKey,
    result: BatchResult,
    pass: Pass,
    request_id: RequestId,
    transport: Transport,
    /// For the integration that keeps what was rejected.
    rejected: Option<Rejected>,
}

impl Ingest {
    /// Judges by `config` and `metrics`, and stores through `writer`. After the recorder of metrics is installed.
    #[must_use]
    pub fn new(config: Config, metrics: MetricTable, writer: Writer) -> Self {
        let shared = Shared {
            budget: Budget::new(config.in_flight_bytes_max, config.retry_after_s),
            resends: Resends::new(config.resend_memory_batches),
            meters: Meters::new(),
            journal: None,
            spare: Mutex::default(),
            rejected: None,
            config,
            metrics,
            writer,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same, telling `journal` what every batch holds once it is durable. Before it is cloned.
    ///
    /// # Panics
    /// When it was cloned.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        Arc::get_mut(&mut self.shared).expect("not cloned yet").journal = Some(journal);
        self
    }

    /// The same, handing what is rejected of integrations that keep it to `rejected`. Before it is cloned.
    ///
    /// # Panics
    /// When it was cloned.
    #[must_use]
    pub fn with_rejected_sink(mut self, rejected: Arc<dyn RejectedSink>) -> Self {
        Arc::get_mut(&mut self.shared).expect("not cloned yet").rejected = Some(rejected);
        self
    }

    /// The bytes in flight that both edges share: taken by the edge **before** it reads a body, held until the answer.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// What may be measured.
    #[must_use]
    pub fn metrics(&self) -> &MetricTable {
        &self.shared.metrics
    }

    /// Whether a batch could be stored now: an edge asks before it reads a body.
    ///
    /// # Errors
    /// The 503 that [`Ingest::submit`] would answer.
    pub fn admit(&self) -> Result<(), Refused> {
        self.shared.writer.headroom().map_err(|error| self.shared.unstored(error))
    }

    /// Judges a batch and makes what is good durable: when this returns a result, every reading it calls accepted
    /// survives a crash (S262). Dropping the future once it has been polled stops nothing.
    ///
    /// # Errors
    /// [`Refused`] for the whole batch: no JSON or no batch (400), too many readings (413), status or key changed
    /// meanwhile (401), nowhere to store it (503). Nothing is stored then, with one exception: status or key changed
    /// after the batch was durable, which is answered 401 all the same and logged (A15).
    pub async fn submit(&self, principal: &Principal, submission: Submission) -> Result<BatchResult, Refused> {
        let (transport, validate_only) = (submission.transport, submission.validate_only);
        self.shared.meters.body(transport, submission.body.len());
        let batch = match self.shared.judge(principal, &submission) {
            Ok(batch) => batch,
            Err(refused) => {
                self.shared.meters.refused(transport, &refused);
                return Err(refused);
            }
        };
        drop(submission);
        if validate_only || batch.result.accepted == 0 {
            return self.shared.answer_without_storing(batch, validate_only);
        }
        Persist::new("ingest-append", store(Arc::clone(&self.shared), batch)).await
    }
}

/// Past the gate, into the spool, and the answer: counted here, whether or not somebody still waits for it.
async fn store(shared: Arc<Shared>, batch: Batch) -> Result<BatchResult, Refused> {
    let transport = batch.transport;
    let stored = shared.append(batch).await;
    match &stored {
        Ok(result) => shared.meters.judged(transport, false, result),
        Err(refused) => shared.meters.refused(transport, refused),
    }
    stored
}

impl Shared {
    fn judge(&self, principal: &Principal, submission: &Submission) -> Result<Batch, Refused> {
        if !submission.validate_only {
            self.writer.headroom().map_err(|error| self.unstored(error))?;
        }
        let mut verdict = self.spare.lock().pop().unwrap_or_else(|| Verdict::new(self.config.readings_max));
        let parsed = self.parse(principal, submission, &mut verdict);
        let batch = parsed.map(|parsed| self.batch(principal, submission, parsed, &mut verdict));
        self.spare.lock().push(verdict);
        batch.map_err(|unreadable| {
            let refused = Refused::new(unreadable.problem());
            Refused { detail: unreadable.detail(), ..refused }
        })
    }

    fn parse(
        &self,
        principal: &Principal,
        submission: &Submission,
        verdict: &mut Verdict,
    ) -> Result<Parsed, Unreadable> {
        let (received_at_us, config) = (submission.received_at_us, &self.config);
        let (past, future) = (config.timestamp_past_max_s, config.timestamp_future_max_s);
        let equipment = principal.integration.equipment.read();
        let rules = Rules {
            equipment: &equipment,
            metrics: &self.metrics,
            name_bytes_max: config.name_bytes_max,
            received_at_us,
            window: Window::new(received_at_us, past, future, principal.facts.backfill.as_ref()),
        };
        let parsed =
            parse::parse(&submission.body, config.readings_max, config.parser, &mut Judge::new(rules, verdict))?;
        self.meters.read_by(parsed.reader);
        Ok(parsed)
    }

    fn batch(&self, principal: &Principal, submission: &Submission, parsed: Parsed, verdict: &mut Verdict) -> Batch {
        let integration_id = principal.facts.id;
        let key = BatchKey::new(integration_id, &verdict.readings);
        let accepted = verdict.readings.len() as u32;
        let errors = std::mem::take(&mut verdict.errors);
        let is_kept = self.rejected.is_some() && principal.facts.keep_rejected && !submission.validate_only;
        let rejected = (is_kept && !errors.is_empty()).then(|| Rejected {
            integration_id,
            request_id: submission.request_id,
            received_at_us: submission.received_at_us,
            transport: submission.transport,
            body: submission.body.clone(),
            errors: errors.clone(),
        });
        let duplicates = if self.resends.contains(key) { accepted } else { verdict.duplicates };
        let rejections = std::mem::take(&mut verdict.rejections);
        let (mut record, mut contents) = (Vec::new(), None);
        if accepted > 0 && !submission.validate_only {
            let header = RecordHeader {
                integration_id,
                request_id: submission.request_id,
                received_at_us: submission.received_at_us,
            };
            record::encode(&header, &verdict.readings, &mut record);
            contents = self.journal.is_some().then(|| Contents::of(&verdict.readings, verdict.duplicates));
        }
        Batch {
            record,
            integration_id,
            received_at_us: submission.received_at_us,
            contents,
            key,
            result: BatchResult {
                received: parsed.count as u32,
                accepted,
                duplicates,
                rejected: errors.len() as u32,
                errors,
                rejections,
                batch_id: parsed.batch_id,
            },
            pass: principal.pass(),
            request_id: submission.request_id,
            transport: submission.transport,
            rejected,
        }
    }

    /// Hands over what the integration keeps of a batch whose answer is known.
    fn keep(&self, rejected: Option<Rejected>) {
        if let (Some(sink), Some(rejected)) = (&self.rejected, rejected) {
            sink.keep(rejected);
        }
    }

    /// A suspension that has returned holds for this answer, too.
    fn answer_without_storing(&self, batch: Batch, validate_only: bool) -> Result<BatchResult, Refused> {
        if !batch.pass.still_valid() {
            let refused = changed(Cause::ChangedInFlight);
            self.meters.refused(batch.transport, &refused);
            return Err(refused);
        }
        self.meters.judged(batch.transport, validate_only, &batch.result);
        self.keep(batch.rejected);
        Ok(batch.result)
    }

    async fn append(&self, batch: Batch) -> Result<BatchResult, Refused> {
        let Batch { record, key, result, pass, request_id, integration_id, received_at_us, contents, rejected, .. } =
            batch;
        let permit = pass.enter_gate().await.map_err(|_closed| changed(Cause::ChangedInFlight))?;
        let appended = self.writer.append(record, Box::new(permit)).await;
        let receipt = appended.map_err(|error| self.unstored(error))?;
        self.resends.insert(key);
        if let (Some(journal), Some(contents)) = (&self.journal, &contents) {
            let (position, accepted) = (receipt.position(), result.accepted);
            journal.stored(&Stored { request_id, integration_id, received_at_us, position, accepted, contents });
        }
        if !pass.still_valid() {
            tracing::warn!(
                %request_id,
                integration_id = %pass.integration.facts().id,
                position = receipt.position(),
                readings = result.accepted,
                "committed_before_suspend: status or key changed after the batch was durable; answered 401"
            );
            return Err(changed(Cause::CommittedBeforeSuspend));
        }
        self.keep(rejected);
        Ok(result)
    }

    /// Why the spool did not take a batch, for the caller.
    fn unstored(&self, error: AppendError) -> Refused {
        let (problem, cause) = match error {
            AppendError::Full => (ProblemCode::SpoolFull, "spool_full"),
            AppendError::DiskFull => (ProblemCode::SpoolFull, "disk_full"),
            AppendError::QueueFull => (ProblemCode::Overloaded, "spool_queue_full"),
            AppendError::Poisoned => (ProblemCode::StorageUnavailable, "spool_poisoned"),
            AppendError::ShuttingDown => (ProblemCode::ShuttingDown, "shutting_down"),
        };
        Refused::new(problem).because(cause).retry_after(self.config.retry_after_s)
    }
}

fn changed(cause: Cause) -> Refused {
    Refused::new(ProblemCode::Unauthorized).because(cause.as_str())
}

#[cfg(test)]
mod tests;
