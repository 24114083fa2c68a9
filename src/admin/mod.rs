//! The administrators' API: JSON under `/admin/v1`, on a port of its own, with sessions of its own.
//!
//! Integrations' keys and tokens open nothing here, whatever their scopes (S004). Every call that administers needs
//! the permission `administration_integrations_access`, looked up afresh (S001); objects of other organisations do not
//! exist (S008). This room judges the form of a call; what is allowed when is the control plane's to say.
//! All routes stand in `router.rs`.

mod access_reviews;
mod allowlist;
mod audit;
mod audit_export;
mod caller;
mod catalogue;
mod config;
mod equipment;
mod equipment_csv;
mod export;
mod grants;
mod handover;
mod integration_view;
mod integrations;
mod latest;
mod lifecycle;
pub mod openapi;
mod probes;
mod quarantine;
mod reading_trace;
mod readings;
mod request;
mod request_log;
mod room_readings;
mod rooms;
mod router;
mod series;
mod session;
mod throttle;
mod users;
mod webhooks;

#[cfg(test)]
mod tests;

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use self::throttle::Throttle;
pub use self::{config::Config, handover::Endpoints, reading_trace::Delivered, router::router};
use crate::{
    control::Control,
    model::MetricTable,
    quarantine::Desk,
    request_log::RequestLog,
    rest::{Api, body, etag, page, parameters, path, problem, store, time},
    store::Store,
    telemetry::health::Health,
    webhook::Guard,
};

/// Sign-ins that are looked at at the same time; others wait.
const SIGN_INS_AT_ONCE: usize = 4;

/// Gives the metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the API works with.
pub struct Parts {
    /// The room's section of the configuration.
    pub config: Config,
    /// The control plane.
    pub control: Control,
    /// Where readings are read back from.
    pub store: Arc<dyn Store>,
    /// What may be measured.
    pub metrics: Arc<MetricTable>,
    /// The API log.
    pub request_log: RequestLog,
    /// What is between the spool and the store.
    pub delivered: Arc<dyn Delivered>,
    /// What did not get into the store.
    pub quarantine: Desk,
    /// Judges where webhooks may be sent to.
    pub guard: Arc<Guard>,
    /// Who complains.
    pub health: Health,
    /// What `/metrics` answers.
    pub render_metrics: RenderMetrics,
    /// Where partners reach the service, for the sheet that is handed over to them.
    pub endpoints: Endpoints,
    /// Where the pages about error codes are, without a slash at the end; empty: on the service itself.
    pub problems_url: String,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The API's state, shared by all handlers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin(Arc<State>);

/// See [`Parts`].
#[derive(Debug)]
pub struct State {
    parts: Parts,
    throttle: Throttle,
    sign_ins: Semaphore,
    exports: Arc<Semaphore>,
}

impl Admin {
    /// An API that works with `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Config { address_failures_per_minute, account_failures_per_minute, failing_max, exports_max, .. } =
            parts.config;
        Self(Arc::new(State {
            throttle: Throttle::new(address_failures_per_minute, account_failures_per_minute, failing_max),
            sign_ins: Semaphore::new(SIGN_INS_AT_ONCE),
            exports: Arc::new(Semaphore::new(exports_max)),
            parts,
        }))
    }
}

impl Api for Admin {
    fn body_bytes_max(&self) -> usize {
        self.config.body_bytes_max
    }

    fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.config.body_timeout_ms)
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    fn metrics(&self) -> &MetricTable {
        &self.parts.metrics
    }
}

impl Deref for Admin {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
