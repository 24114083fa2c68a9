//! The database: opening it, one writer, a few readers, and changes that reach the listener in commit order.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt, fs,
    ops::Deref,
    path::Path,
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use serde_json::json;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, Semaphore},
    task::spawn_blocking,
};

use super::{
    Actor, Change, ChangeListener, Config, Cut, Error,
    audit::{self, AuditEntry, Seal, Target},
    config::{Policy, WebhookTerms},
    password::Hasher,
    schema,
    session::Terms,
    webhook::secret::{Keys, reseal},
};
use crate::{model::OrganisationId, telemetry::task};

/// Who signs the tokens of integrations, by the configuration.
#[derive(Debug, Clone, Default)]
pub struct Issuers {
    /// The embedded issuer's `iss`; it makes client ids and secrets itself. None: it is off.
    pub embedded: Option<String>,
    /// The `iss` of every external issuer; a client id of one of them is bound at onboarding (A1).
    pub external: Vec<String>,
}

/// The control plane. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Control {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) issuers: Issuers,
    pub(super) seal: Seal,
    pub(super) passwords: Hasher,
    policy: Policy,
    pub(super) session_terms: Terms,
    pub(super) equipment_max: u32,
    pub(super) webhook_keys: Arc<Keys>,
    pub(super) webhook_terms: WebhookTerms,
    /// Told after a commit that put something into a queue.
    pub(super) webhook_wake: Notify,
    writer: Arc<AsyncMutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
    reader_permits: Arc<Semaphore>,
    /// Held from before a commit until its change was applied, so that changes arrive in commit order. Apart from the
    /// writer's lock: a barrier that waits for requests in flight must not hold up a sign-in.
    order: AsyncMutex<()>,
    listener: RwLock<Option<Arc<dyn ChangeListener>>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("issuers", &self.inner.issuers).finish_non_exhaustive()
    }
}

impl Control {
    /// Opens `data_dir/control.db`, makes it if absent, and brings it to the newest schema. Blocking: call it before
    /// serving.
    pub fn open(data_dir: &Path, config: &Config, issuers: Issuers) -> Result<Self, Error> {
        let prepare = |source| Error::Prepare { path: data_dir.to_owned(), source };
        fs::create_dir_all(data_dir).map_err(prepare)?;
        let path = data_dir.join("control.db");
        make_private_file(&path).map_err(|source| Error::Prepare { path: path.clone(), source })?;
        let open =
            |writes: bool| connect(&path, writes, config).map_err(|source| Error::Open { path: path.clone(), source });
        let mut writer = open(true)?;
        schema::migrate(&mut writer)?;
        schema::enforce(&writer, config.policy())?;
        let seal = Seal::open(&data_dir.join("audit"), config)?;
        seal.catch_up(&writer)?;
        let keys = Keys::open(&config.webhook.key_path(data_dir))?;
        let readers = (0..config.read_connections).map(|_| open(false)).collect::<Result<Vec<_>, _>>()?;
        let control = Self {
            inner: Arc::new(Inner {
                issuers,
                seal,
                passwords: Hasher::new(config)?,
                policy: config.policy(),
                session_terms: Terms { idle_s: config.session_idle_s, absolute_s: config.session_absolute_s },
                equipment_max: config.equipment_per_integration_max,
                webhook_keys: Arc::new(keys),
                webhook_terms: config.webhook.clone(),
                webhook_wake: Notify::new(),
                writer: Arc::new(AsyncMutex::new(writer)),
                reader_permits: Arc::new(Semaphore::new(readers.len())),
                readers: Mutex::new(readers),
                order: AsyncMutex::new(()),
                listener: RwLock::new(None),
            }),
        };
        let inner = &control.inner;
        let mut writer = inner.writer.try_lock().expect("nobody else knows of it yet");
        transact(inner, &mut writer, |tx| reseal(tx, &inner.webhook_keys))?;
        drop(writer);
        Ok(control)
    }

    /// Who is told of changes from now on. Set it before serving administrators.
    pub fn set_listener(&self, listener: Arc<dyn ChangeListener>) {
        *self.inner.listener.write() = Some(listener);
    }

    /// Runs `job` in a write transaction (`BEGIN IMMEDIATE`), committed and on disk when this returns `Ok`. For what
    /// no request is judged by; everything else goes through [`Control::change`].
    pub(super) async fn write<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let mut writer = Arc::clone(&self.inner.writer).lock_owned().await;
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || transact(&inner, &mut writer, job)).await?
    }

    /// Runs `job` as [`Control::write`] does, then hands its changes to the listener. Returns when they hold. In a
    /// task of its own: a caller who hangs up between commit and hand-over must not leave the snapshot behind.
    pub(super) async fn change<T, F>(&self, job: F) -> Result<(T, Cut), Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<(T, Vec<Change>), Error> + Send + 'static,
    {
        let control = self.clone();
        task::spawn("control_change", async move {
            let _in_commit_order = control.inner.order.lock().await;
            let (result, changes) = control.write(job).await?;
            let listener = control.inner.listener.read().clone();
            let mut cut = Cut::default();
            if let Some(listener) = listener {
                for change in changes {
                    cut += listener.apply(change).await;
                }
            }
            Ok((result, cut))
        })
        .await?
    }

    /// Runs `job` as [`Control::change`] does; where `cuts` says that somebody may have been cut off, what was cut
    /// follows in the audit log as an entry of the server, under the id of the call. It is known only once the change
    /// holds, so it cannot stand in the entry of the change, which is written before. A crash in between leaves the
    /// entry out: every connection ended with the process then.
    pub(super) async fn change_and_cut<T, F>(
        &self,
        actor: Actor,
        target: Target,
        cuts: fn(&T) -> bool,
        job: F,
    ) -> Result<(T, Cut), Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<(T, Vec<Change>), Error> + Send + 'static,
    {
        let control = self.clone();
        task::spawn("control_cut", async move {
            let (result, cut) = control.change(job).await?;
            if cuts(&result) {
                let entry = AuditEntry {
                    after: Some(json!({ "sessions": cut.sessions, "requests": cut.requests })),
                    request_id: Some(actor.request_id),
                    ..AuditEntry::by_server(actor.organisation_id, "integration_cut", target)
                };
                // The change holds already: its caller must learn of it whatever becomes of this entry.
                if let Err(error) = control.write(move |tx| audit::append(tx, entry)).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "what was cut is not in the audit log");
                }
            }
            Ok((result, cut))
        })
        .await?
    }

    /// Runs `job` on a connection that cannot write, on the last committed state.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let permits = Arc::clone(&self.inner.reader_permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || {
            // Moved here, so that a caller who hangs up does not give the permit back before the connection.
            let _permit = permit;
            let connection = inner.readers.lock().pop().expect("as many connections as permits");
            let lent = Lent { connection: Some(connection), home: &inner.readers };
            job(&lent)
        })
        .await?
    }
}

/// A reader on loan; goes home even when the job panics.
struct Lent<'a> {
    connection: Option<Connection>,
    home: &'a Mutex<Vec<Connection>>,
}

impl Deref for Lent<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("only drop takes it")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.home.lock().extend(self.connection.take());
    }
}

/// A write transaction: the connection's statements, its time, and what it owes to the audit log.
pub(super) struct Tx<'a> {
    transaction: Transaction<'a>,
    pub(super) now_us: i64,
    pub(super) issuers: &'a Issuers,
    pub(super) policy: Policy,
    pub(super) audited: RefCell<BTreeSet<OrganisationId>>,
    pub(super) webhook_queue_max: u32,
    wakes_webhooks: Cell<bool>,
    attempt: Cell<Option<Attempt>>,
}

#[derive(Clone, Copy)]
struct Attempt {
    actor: Actor,
    refused_action: &'static str,
    target: Target,
}

impl Attempt {
    fn entry(&self, refusal: &Error) -> AuditEntry {
        let code = refusal.problem().code();
        AuditEntry {
            after: Some(json!({ "refused": code })),
            ..AuditEntry::by(&self.actor, self.refused_action, self.target)
        }
    }
}

impl Tx<'_> {
    /// Says what is being tried. If the job is then refused because of the person, everything that it did is undone
    /// and the refusal alone is written to the audit log as `refused_action` (S287).
    pub(super) fn attempt(&self, actor: &Actor, refused_action: &'static str, target: Target) {
        self.attempt.set(Some(Attempt { actor: *actor, refused_action, target }));
    }

    /// Something was put into the queue of a webhook, or may have become due.
    pub(super) fn wake_webhooks(&self) {
        self.wakes_webhooks.set(true);
    }

    /// Commits; says whose audit chains have grown.
    fn commit(self) -> rusqlite::Result<BTreeSet<OrganisationId>> {
        self.transaction.commit()?;
        Ok(self.audited.into_inner())
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

fn transact<T>(
    inner: &Inner,
    writer: &mut Connection,
    job: impl FnOnce(&Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (refusal, attempt) = {
        let tx = begin(inner, writer)?;
        match job(&tx) {
            Ok(result) => {
                let wakes_webhooks = tx.wakes_webhooks.get();
                let audited = tx.commit()?;
                if wakes_webhooks {
                    inner.webhook_wake.notify_one();
                }
                inner.seal.publish(writer, &audited);
                return Ok(result);
            }
            Err(refusal) => (refusal, tx.attempt.get()),
        }
        // Dropping the transaction here undoes it.
    };
    if let Some(attempt) = attempt.filter(|_| refusal.is_about_the_person()) {
        let tx = begin(inner, writer)?;
        audit::append(&tx, attempt.entry(&refusal))?;
        let audited = tx.commit()?;
        inner.seal.publish(writer, &audited);
    }
    Err(refusal)
}

fn begin<'a>(inner: &'a Inner, writer: &'a mut Connection) -> Result<Tx<'a>, Error> {
    Ok(Tx {
        transaction: writer.transaction_with_behavior(TransactionBehavior::Immediate)?,
        now_us: now_us(),
        issuers: &inner.issuers,
        policy: inner.policy,
        audited: RefCell::default(),
        webhook_queue_max: inner.webhook_terms.queue_max,
        wakes_webhooks: Cell::new(false),
        attempt: Cell::new(None),
    })
}

/// Microseconds since 1970, UTC.
pub(super) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn connect(path: &Path, writes: bool, config: &Config) -> rusqlite::Result<Connection> {
    let access = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_millis(config.busy_timeout_ms))?;
    if writes {
        connection.pragma_update(None, "journal_mode", "wal")?;
        // FULL: an acknowledged transition survives a power cut, not only a crash of the process (S152).
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Without it REPLACE deletes rows behind the triggers' backs.
        connection.pragma_update(None, "recursive_triggers", true)?;
    }
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the file, readable by its owner alone; SQLite gives its log the same mode. An existing file stays as it is.
fn make_private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
