//! Answers kept for their `Idempotency-Key`: who sends the same again within 24 hours gets the same answer again.
//!
//! Correctness never needs it: a resend without a kept answer is stored again under the same natural keys, hence
//! once. So the memory is bounded, the oldest answers go first, and the file behind it is written a moment later: a
//! kill -9 loses the answers of about the last second, a full disk all new ones, and no reading.

mod file;

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header::IF_MATCH};
use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::{Config, Error, refusal::Refusal};
use crate::{
    model::{IntegrationId, ProblemCode},
    telemetry::metrics::{HTTP_IDEMPOTENCY_ENTRIES, HTTP_IDEMPOTENCY_TOTAL},
};

/// How long an answer is kept, in seconds (api.md §1).
const KEPT_S: i64 = 24 * 3_600;
/// Longest key, in bytes (api.md §1).
const KEY_BYTES_MAX: usize = 255;
/// What an entry takes besides its answer, roughly: two hashes, counts, its places in map and queue.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// SHA-256 of integration, route and the caller's key: of one size, and nobody's words in our files.
type Key = [u8; 32];
/// SHA-256 of the body as judged.
type Fingerprint = [u8; 32];

/// A durable answer, without the request id that is every request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) accepted: u32,
    pub(super) rejected: u32,
    /// The body behind the request id.
    pub(super) tail: Bytes,
}

/// What to do with a request that has a key.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is the first: do it, and say how it ended.
    Mine(Running),
    /// It was answered before.
    Replay(Answer),
    /// It is being worked on at this moment.
    InProgress,
    /// The key came with another body.
    Reused,
}

/// The kept answers.
#[derive(Debug)]
pub struct Idempotency {
    entries_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    file: Option<file::Behind>,
    instruments: Instruments,
}

#[derive(Debug)]
struct Instruments {
    entries: Gauge,
    first: Counter,
    replayed: Counter,
    in_progress: Counter,
    reused: Counter,
}

impl Instruments {
    fn new() -> Self {
        let outcome = |outcome: &'static str| counter!(HTTP_IDEMPOTENCY_TOTAL, "outcome" => outcome);
        Self {
            entries: gauge!(HTTP_IDEMPOTENCY_ENTRIES),
            first: outcome("first"),
            replayed: outcome("replayed"),
            in_progress: outcome("in_progress"),
            reused: outcome("reused"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    entries: FxHashMap<Key, Entry>,
    /// Answered keys, the oldest first, with the time of their answer. A key that was answered anew stands twice.
    order: VecDeque<(Key, i64)>,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Running { fingerprint: Fingerprint },
    Answered { fingerprint: Fingerprint, answer: Answer, answered_s: i64 },
}

impl Idempotency {
    /// Reads what `idempotency.sqlite` in `data_dir` still holds, and keeps it up to date from now on. A file that
    /// cannot be read is begun anew: it is a convenience, not a record.
    ///
    /// # Errors
    /// [`Error::Idempotency`] when a new file cannot be made either.
    pub fn open(data_dir: &Path, config: &Config, now_s: i64) -> Result<Arc<Self>, Error> {
        let (behind, kept) = file::open(data_dir, config.idempotency_entries_max, now_s - KEPT_S)?;
        let mut memory = Self::in_memory(config);
        memory.file = Some(behind);
        {
            let mut state = memory.state.lock();
            for stored in kept {
                state.keep(stored.key, stored.fingerprint, stored.answer, stored.answered_s);
            }
            memory.forget(&mut state, now_s);
        }
        Ok(Arc::new(memory))
    }

    /// Without a file: a restart forgets.
    #[must_use]
    pub fn in_memory(config: &Config) -> Self {
        Self {
            entries_max: config.idempotency_entries_max,
            bytes_max: config.idempotency_bytes_max,
            state: Mutex::default(),
            file: None,
            instruments: Instruments::new(),
        }
    }

    /// Looks `key` up, and takes it where it is free.
    pub(super) fn claim(self: &Arc<Self>, key: Key, fingerprint: Fingerprint, now_s: i64) -> Claim {
        let mut state = self.state.lock();
        self.forget(&mut state, now_s);
        let claim = match state.entries.get(&key) {
            Some(Entry::Running { fingerprint: first }) if *first == fingerprint => Claim::InProgress,
            Some(Entry::Answered { fingerprint: first, answer, .. }) if *first == fingerprint => {
                Claim::Replay(answer.clone())
            }
            Some(_) => Claim::Reused,
            None => {
                state.entries.insert(key, Entry::Running { fingerprint });
                Claim::Mine(Running { memory: Arc::clone(self), key, fingerprint, is_over: false })
            }
        };
        drop(state);
        match &claim {
            Claim::Mine(_) => self.instruments.first.increment(1),
            Claim::Replay(_) => self.instruments.replayed.increment(1),
            Claim::InProgress => self.instruments.in_progress.increment(1),
            Claim::Reused => self.instruments.reused.increment(1),
        }
        claim
    }

    /// Forgets answers that are too old, and the oldest while there are too many.
    fn forget(&self, state: &mut State, now_s: i64) {
        while let Some((key, answered_s)) = state.order.front().copied() {
            let is_crowded = state.order.len() > self.entries_max || state.bytes > self.bytes_max;
            if !is_crowded && now_s - answered_s < KEPT_S {
                break;
            }
            state.order.pop_front();
            if matches!(state.entries.get(&key), Some(Entry::Answered { answered_s: at, .. }) if *at == answered_s)
                && let Some(Entry::Answered { answer, .. }) = state.entries.remove(&key)
            {
                state.bytes -= weight(&answer);
            }
        }
        self.instruments.entries.set(state.entries.len() as f64);
    }
}

impl State {
    fn keep(&mut self, key: Key, fingerprint: Fingerprint, answer: Answer, answered_s: i64) {
        self.bytes += weight(&answer);
        self.order.push_back((key, answered_s));
        if let Some(Entry::Answered { answer, .. }) =
            self.entries.insert(key, Entry::Answered { fingerprint, answer, answered_s })
        {
            self.bytes -= weight(&answer);
        }
    }
}

fn weight(answer: &Answer) -> usize {
    ENTRY_OVERHEAD_BYTES + answer.tail.len()
}

/// A key that is being worked on. Dropped without an answer (refused, failed, panicked), it is free again.
#[derive(Debug)]
pub(super) struct Running {
    memory: Arc<Idempotency>,
    key: Key,
    fingerprint: Fingerprint,
    is_over: bool,
}

impl Running {
    /// Keeps `answer`, which must be durable.
    pub(super) fn answered(mut self, answer: Answer, now_s: i64) {
        self.is_over = true;
        if let Some(file) = &self.memory.file {
            file.write(file::Stored {
                key: self.key,
                fingerprint: self.fingerprint,
                answer: answer.clone(),
                answered_s: now_s,
            });
        }
        let mut state = self.memory.state.lock();
        state.keep(self.key, self.fingerprint, answer, now_s);
        self.memory.forget(&mut state, now_s);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            self.memory.state.lock().entries.remove(&self.key);
        }
    }
}

/// The key that a request names, if it names one.
///
/// # Errors
/// 400 when it is given twice or is not 1 to 255 printable ASCII characters.
pub(super) fn named(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let is_valid = values.next().is_none()
        && (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.iter().all(|byte| (0x20..=0x7e).contains(byte));
    if is_valid { Ok(Some(key)) } else { Err(Refusal::new(ProblemCode::IdempotencyKeyInvalid)) }
}

/// The name under which an answer is kept.
pub(super) fn key_of(integration: IntegrationId, route: &str, named: &[u8]) -> Key {
    let mut hash = Sha256::new();
    hash.update(integration.as_uuid().as_bytes());
    hash.update((route.len() as u64).to_be_bytes());
    hash.update(route);
    hash.update(named);
    hash.finalize().into()
}

/// The fingerprint of a body. A validation and a real submission are two requests, though their bodies be the same.
pub(super) fn fingerprint_of(body: &[u8], validate_only: bool) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update([u8::from(validate_only)]);
    hash.update(body);
    hash.finalize().into()
}

/// The fingerprint of a call of a resource: its body, and the version that it is bound to. The same change of another
/// version is another request, which must be judged.
pub(super) fn fingerprint_of_call(headers: &HeaderMap, body: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    for version in headers.get_all(IF_MATCH) {
        hash.update(version);
        hash.update(b"\n");
    }
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
