//! What an integration may do besides sending readings: its equipment, the taxonomy, its limits.
//!
//! Everything stands behind the gate of the integration API's edge, which has proved the credentials, charged the
//! window and judged the scope before a handler runs. What a handler changes is judged once more by the control plane,
//! in the transaction that makes it durable, so that a suspend that has returned holds here as it does for readings.
//! Of other integrations nothing exists.

mod caller;
mod equipment;
mod limits;
mod openapi;
mod taxonomies;
mod webhooks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{get, patch, post},
};

pub use limits::{BatchTerms, MqttTerms};
pub use openapi::part;

use crate::{
    control::Control,
    model::{MetricTable, Scope},
    rest::{Api, webhook},
    store::Store,
    webhook::Guard,
};

/// What the calls work with.
#[derive(Clone)]
pub struct Parts {
    /// The control plane.
    pub control: Control,
    /// Where last values are read from.
    pub store: Arc<dyn Store>,
    /// What may be measured.
    pub metrics: Arc<MetricTable>,
    /// Judges where webhooks may be sent to.
    pub guard: Arc<Guard>,
    /// What a batch may be.
    pub batch: BatchTerms,
    /// What a session over MQTT may do; none: it is not served.
    pub mqtt: Option<MqttTerms>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("batch", &self.batch).field("mqtt", &self.mqtt).finish_non_exhaustive()
    }
}

/// Some paths with what they ask of their caller, for the edge.
#[derive(Debug)]
pub struct Routes {
    /// Their name in metrics and records.
    pub name: &'static str,
    /// This path and everything below it.
    pub path: &'static str,
    /// What reading needs; none: any integration may.
    pub read: Option<Scope>,
    /// What everything else needs; none: any integration may.
    pub write: Option<Scope>,
    /// Answers them.
    pub router: Router,
}

/// Everything that this room answers.
#[must_use]
pub fn routes(parts: Parts) -> Vec<Routes> {
    let equipment = Router::new()
        .route("/v1/equipment", get(equipment::index).post(equipment::create))
        .route("/v1/equipment/bulk", post(equipment::upsert))
        .route("/v1/equipment/{id}", get(equipment::show).merge(patch(equipment::update)))
        .route("/v1/equipment/{id}/retire", post(equipment::retire));
    let types = Router::new().route("/v1/taxonomies/equipment-types", get(taxonomies::equipment_types));
    let limits = Router::new().route("/v1/limits", get(limits::show));
    vec![
        Routes {
            name: "equipment",
            path: "/v1/equipment",
            read: Some(Scope::EquipmentRead),
            write: Some(Scope::EquipmentWrite),
            router: equipment.with_state(parts.clone()),
        },
        // Nobody writes a taxonomy here (S280): with the scope a write is 405, without it 403 as everywhere.
        Routes {
            name: "taxonomies",
            path: "/v1/taxonomies",
            read: Some(Scope::TaxonomiesRead),
            write: Some(Scope::TaxonomiesRead),
            router: types.with_state(parts.clone()),
        },
        Routes {
            name: "webhooks",
            path: "/v1/webhooks",
            read: Some(Scope::WebhooksManage),
            write: Some(Scope::WebhooksManage),
            router: Router::new().nest("/v1/webhooks", webhook::router()).with_state(parts.clone()),
        },
        // Whoever may call at all may know what is left to them.
        Routes { name: "limits", path: "/v1/limits", read: None, write: None, router: limits.with_state(parts) },
    ]
}

impl Api for Parts {
    fn body_bytes_max(&self) -> usize {
        self.batch.body_bytes_max
    }

    fn body_timeout(&self) -> Duration {
        // The edge has read the body.
        Duration::MAX
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn metrics(&self) -> &MetricTable {
        &self.metrics
    }
}
