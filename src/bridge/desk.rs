//! One message from its arrival to its verdict: credentials, capacity, window and scope, body, and what the sender is
//! told.

use std::{future::poll_fn, net::IpAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    acks::Verdict,
    message::Message,
    meters::Meters,
    outbox::{Replies, Reply},
    refusal::{Lines, NotStored, Refusal},
    seam::Door,
    turns::Turn,
};
use crate::{
    auth::{Call, Cause, Denial, Principal, RateState},
    ingest::{BatchResult, Budget, BudgetPermit, Intake, Submission, Transport},
    journal::{BRIDGE_ROUTE, Journal, Record},
    model::{IntegrationId, ProblemCode, RequestId, Scope},
};

/// Where messages are judged; shared by all of them.
#[derive(Debug)]
pub(super) struct Desk<D, I> {
    pub(super) config: Arc<Config>,
    pub(super) door: Arc<D>,
    pub(super) intake: Arc<I>,
    pub(super) budget: Budget,
    pub(super) replies: Replies,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) public_url: String,
    pub(super) refusal_lines: Lines,
    pub(super) meters: Arc<Meters>,
}

/// A message that was judged, and whose good part is durable.
struct Judged {
    id: IntegrationId,
    key_generation: u64,
    result: BatchResult,
    rate: RateState,
}

/// How long a message may be kept waiting.
struct Patience {
    until: Instant,
    /// Cancelled when its connection has ended: the broker sends it again.
    over: CancellationToken,
}

impl Patience {
    /// Pauses.
    ///
    /// # Errors
    /// `cause`, when there is no time left for the pause.
    async fn pause(&self, pause: Duration, cause: &'static str) -> Result<(), NotStored> {
        if Instant::now() + pause > self.until {
            return Err(NotStored::Later(cause));
        }
        self.over.run_until_cancelled(sleep(pause)).await.ok_or(NotStored::Later("connection_ended"))
    }
}

impl<D: Door, I: Intake> Desk<D, I> {
    /// Judges `message`, which came from the broker at `peer`, and answers it. It is handed in when its `turn` has
    /// come. `over` ends all waiting.
    pub(super) async fn settle(
        self: Arc<Self>,
        message: Message,
        peer: IpAddr,
        turn: Turn,
        over: CancellationToken,
    ) -> Verdict {
        let call = Call { addr: peer, request_id: RequestId::generate(), now_us: now_us() };
        let started = Instant::now();
        let patience = Patience { until: started + self.config.hold(), over };
        match self.judge(&message, &call, &turn, &patience).await {
            Ok(Judged { id, key_generation, result, rate }) => {
                self.meters.judged.increment(1);
                self.journal.record(&Record {
                    integration_id: Some(id),
                    key_generation: Some(key_generation),
                    granted: Some(true),
                    status: result.status(),
                    readings: Some(result.counts()),
                    rejected: &result.rejections,
                    rate: Some(rate),
                    ..record(&message, &call, started)
                });
                self.answer(&message, id, result.to_mqtt_json(call.request_id), "application/json");
                Verdict::Settled
            }
            Err(NotStored::Refused(refusal)) => {
                self.refuse(&message, &call, started, &refusal);
                Verdict::Settled
            }
            Err(NotStored::Later(cause)) => {
                let meters = &self.meters;
                if message.is_acknowledged { &meters.released } else { &meters.dropped }.increment(1);
                Verdict::Unsettled(cause)
            }
        }
    }

    async fn judge(
        &self,
        message: &Message,
        call: &Call,
        turn: &Turn,
        patience: &Patience,
    ) -> Result<Judged, NotStored> {
        let principal = self.authenticate(message, call, patience).await?;
        let id = principal.facts.id;
        // Before the window is charged: a message that has to be sent again must not pay twice for our trouble.
        let _room = self.room(message, patience).await?;
        self.ready(patience).await?;
        let rate = self.admit(&principal, patience).await?;
        let generation = principal.generation;
        let refused = |refusal: Refusal| NotStored::Refused(refusal.of(id, generation));
        if message.owner() != Some(id) {
            let detail = format!("The credentials are those of {id}; the topic is not the one of its readings.");
            return Err(refused(Refusal::new(ProblemCode::NotFound, "foreign_topic").with_detail(detail)));
        }
        if message.body.len() > self.config.body_bytes_max as usize {
            return Err(refused(Refusal::new(ProblemCode::BodyTooLarge, "body_too_large")));
        }
        if patience.over.run_until_cancelled(turn.come()).await.is_none() {
            return Err(NotStored::Later("connection_ended"));
        }
        let result = self.submit(message, &principal, call, turn, patience).await?;
        Ok(Judged { id, key_generation: generation, result, rate })
    }

    async fn authenticate(&self, message: &Message, call: &Call, patience: &Patience) -> Result<Principal, NotStored> {
        let Some(credential) = message.credential() else {
            let cause = Cause::MissingCredential.as_str();
            return Err(NotStored::Refused(Refusal::new(ProblemCode::MissingCredential, cause)));
        };
        loop {
            let call = Call { now_us: now_us(), ..*call };
            match self.door.authenticate(&credential, &call).await.map_err(relayed) {
                Err(NotStored::Later(cause)) => patience.pause(self.config.retry(), cause).await?,
                decided => return decided,
            }
        }
    }

    /// Room for the body among all that is in flight. A body beyond the limit will only be refused, and a wait for more
    /// than there is would never end.
    async fn room(&self, message: &Message, patience: &Patience) -> Result<BudgetPermit, NotStored> {
        let full = NotStored::Later("in_flight_bytes");
        let bytes = message.body.len().min(self.config.body_bytes_max as usize);
        let waiting = patience.over.run_until_cancelled(self.budget.wait(bytes));
        match timeout_at(patience.until, waiting).await {
            Ok(Some(Ok(permit))) => Ok(permit),
            Ok(Some(Err(_)) | None) | Err(_) => Err(full),
        }
    }

    /// Waits until a batch could be made durable.
    async fn ready(&self, patience: &Patience) -> Result<(), NotStored> {
        while let Err(refused) = self.intake.ready() {
            patience.pause(self.config.retry(), refused.cause).await?;
        }
        Ok(())
    }

    /// Window, quota and scope. A full window is waited for where it ends soon enough, so that a wait is never in
    /// vain: all messages behind this one wait with it.
    async fn admit(&self, principal: &Principal, patience: &Patience) -> Result<RateState, NotStored> {
        let admit = || self.door.admit(principal, Scope::SensorsWrite, now_us());
        let denial = match admit() {
            Ok(rate) => return Ok(rate),
            Err(denial) => denial,
        };
        let Some(wait) = self.wait_for_reset(&denial) else { return Err(denial.into()) };
        if patience.over.run_until_cancelled(sleep(wait)).await.is_none() {
            return Err(NotStored::Later("connection_ended"));
        }
        admit().map_err(NotStored::from)
    }

    fn wait_for_reset(&self, denial: &Denial) -> Option<Duration> {
        if denial.problem.status() != 429 {
            return None;
        }
        let reset_us = i64::try_from(denial.rate.reset_s).ok()?.checked_mul(1_000_000)?;
        let wait = Duration::from_micros(u64::try_from(reset_us - now_us()).unwrap_or(0));
        (wait <= self.config.limit_wait()).then_some(wait)
    }

    /// Hands the batch in. What cannot be taken at once is tried again, and nothing behind it is begun meanwhile.
    async fn submit(
        &self,
        message: &Message,
        principal: &Principal,
        call: &Call,
        turn: &Turn,
        patience: &Patience,
    ) -> Result<BatchResult, NotStored> {
        loop {
            let submission = Submission {
                body: message.body.clone(),
                received_at_us: call.now_us,
                request_id: call.request_id,
                validate_only: false,
                transport: Transport::Mqtt,
            };
            let mut submitting = pin!(self.intake.submit(principal, submission));
            let taken = poll_fn(|cx| Poll::Ready(submitting.as_mut().poll(cx))).await;
            let refused = match taken {
                Poll::Ready(Ok(result)) => return Ok(result),
                Poll::Ready(Err(refused)) => refused,
                Poll::Pending => {
                    // It waits for the disk, before whatever is begun from now on. If that fails, those behind it may
                    // have succeeded, so it is not for us to try again but for the broker to send all of them.
                    turn.pass();
                    return submitting.await.map_err(|refused| NotStored::from_ingest(refused, principal));
                }
            };
            match NotStored::from_ingest(refused, principal) {
                NotStored::Later(cause) => patience.pause(self.config.retry(), cause).await?,
                refused @ NotStored::Refused(_) => return Err(refused),
            }
            if !principal.pass().still_valid() {
                let refusal = Refusal::new(ProblemCode::Unauthorized, Cause::ChangedInFlight.as_str());
                return Err(NotStored::Refused(refusal.of(principal.facts.id, principal.generation)));
            }
            self.ready(patience).await?;
        }
    }

    fn refuse(&self, message: &Message, call: &Call, started: Instant, refusal: &Refusal) {
        self.meters.refusal(refusal.cause);
        let record = Record {
            integration_id: refusal.integration_id,
            key_generation: refusal.key_generation,
            granted: refusal.granted(),
            status: refusal.problem.status(),
            code: Some(refusal.problem.code()),
            cause: Some(refusal.cause),
            message: Some(refusal.detail.as_deref().unwrap_or_else(|| refusal.problem.remedy())),
            rate: refusal.rate,
            ..record(message, call, started)
        };
        if self.refusal_lines.may_write() {
            self.journal.record(&record);
        } else {
            self.journal.record_quietly(&record);
        }
        // What nobody has proved goes nowhere: the topic would tell a stranger's mistakes to its owner.
        if let Some(id) = refusal.integration_id.filter(|_| refusal.is_proven) {
            self.answer(message, id, refusal.document(&self.public_url, call.request_id), "application/problem+json");
        }
    }

    fn answer(&self, message: &Message, id: IntegrationId, body: Vec<u8>, content_type: &'static str) {
        let (topic, correlation_data) = (message.answer_topic(id), message.correlation_data());
        self.replies.send(Reply { topic, correlation_data, content_type, body });
    }
}

/// What the journal keeps of a message whatever became of it.
fn record<'a>(message: &Message, call: &Call, started: Instant) -> Record<'a> {
    Record {
        transport: Transport::Mqtt.as_str(),
        request_id: call.request_id,
        client_request_id: None,
        at_us: call.now_us,
        integration_id: None,
        key_generation: None,
        addr: call.addr,
        method: "PUBLISH",
        route: BRIDGE_ROUTE,
        scope: Some(Scope::SensorsWrite),
        granted: None,
        status: 0,
        code: None,
        cause: None,
        message: None,
        latency: started.elapsed(),
        body_bytes: message.body.len(),
        readings: None,
        rejected: &[],
        rate: None,
    }
}

/// A denial in the words of a sender behind a broker.
fn relayed(denial: Denial) -> NotStored {
    match NotStored::from(denial) {
        NotStored::Refused(refusal) if refusal.problem == ProblemCode::IpNotAllowed => {
            let detail = "The integration's allowlist does not cover the broker's address.".to_owned();
            NotStored::Refused(refusal.with_detail(detail))
        }
        other => other,
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
