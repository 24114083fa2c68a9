//!
//! Pure: no I/O, no async, no clock. Every other room may import this one; this one imports none.

pub mod api_key;
pub mod backoff;
pub mod client_facts;
pub mod contents;
pub mod entry_code;
pub mod equipment;
pub mod ids;
pub mod integration;
pub mod metric;
pub mod openapi;
pub mod problem;
pub mod problem_document;
pub mod reading;
pub mod record;
pub mod rejected_entry;
pub mod scope;
pub mod topic;
pub mod varint;
pub mod webhook;

pub use api_key::{ApiKey, ClientSecret, SecretFormatError};
pub use backoff::Backoff;
pub use client_facts::ClientKey;
pub use contents::{Contents, Holds};
pub use entry_code::EntryCode;
pub use equipment::{EquipmentFacts, EquipmentKind, EquipmentNumber};
pub use ids::{
    AccessReviewId, DeliveryId, EquipmentId, EventId, IntegrationId, OrganisationId, RequestId, UserId, WebhookId,
};
pub use integration::{IntegrationFacts, KeyFact, Status};
pub use metric::{Metric, MetricNumber, MetricTable};
pub use problem::ProblemCode;
pub use problem_document::{FieldProblem, Problem, ProblemDocument};
pub use reading::{Quality, Reading, SeriesId};
pub use rejected_entry::RejectedEntry;
pub use scope::{Scope, ScopeSet};
pub use webhook::{WebhookEvent, WebhookTarget};
