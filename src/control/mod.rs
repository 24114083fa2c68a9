//! The control plane: organisations, their members, integrations and their life, keys, equipment, the audit chain.
//!
//! One embedded SQLite database (`control.db`), one writer, all rules twice: here, and as constraints and triggers in
//! the database, so that two administrators at once, or a hand at the SQL prompt, cannot break them. It keeps no
//! secret: keys and client secrets are stored as SHA-256 only, the signing secrets of webhooks encrypted by a key that
//! stands elsewhere.
//!
//! Nothing on the path of a batch calls this room. What requests are judged by leaves it as a [`Change`], handed to
//! the one [`ChangeListener`] in the order of the commits and before the administrator is answered.

mod actor;
pub mod audit;
mod change;
mod column;
mod config;
mod db;
mod equipment;
mod equipment_type;
mod error;
pub mod integration;
mod metric_number;
mod organisation;
pub mod page;
mod password;
mod permission;
pub mod review;
mod schema;
mod session;
mod text;
mod usage;
mod user;
pub mod vendor;
mod webhook;

#[cfg(test)]
mod tests;

pub use actor::{Actor, IntegrationActor, Registrar};
pub use change::{Change, ChangeListener, Cut};
pub use config::{Config, WebhookTerms};
pub use db::{Control, Issuers};
pub use equipment::{
    BULK_ITEMS_MAX, BulkCall, BulkSummary, BulkUpsert, EQUIPMENT_LIMIT, EXTERNAL_ID_BYTES_MAX, Equipment,
    EquipmentFilter, EquipmentPatch, Refusal, Room, UpsertedEquipment,
};
pub use equipment_type::{EQUIPMENT_TYPES, EquipmentType};
pub use error::{Error, FieldError};
pub use integration::Integration;
pub use organisation::{Bootstrapped, FirstAdministrator, Organisation};
pub use page::{Page, PageRequest};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_LENGTH_MIN, Password};
pub use permission::{PERMISSION, Standing};
pub use session::{Session, SessionKey, SessionToken, SignedIn, TOKEN_PREFIX};
pub use usage::{KeyUsage, QuotaUsage};
pub use user::{NewUser, User, UserPatch};
pub use vendor::{VENDORS, Vendor};
pub use webhook::{
    AttemptReport, DELIVERY_STATES, DueDelivery, NewWebhook, QuotaNotice, ReadingsNotice, SECRET_PREFIX, Verdict,
    Webhook, WebhookAttempt, WebhookDelivery, WebhookPatch, WebhookSecret,
};
