//! The one way in: [`submission::Submission`] → parse → validate → append → [`result::BatchResult`].
//!
//! This room owns the judgement of a batch: what is read from its bytes, which entries are taken, in which words the
//! others are refused, and that nothing is called accepted before the spool has it durably. It knows no protocol: both
//! edges hand it bytes and answer with what it gives back.

pub mod budget;
pub mod config;
mod intake;
mod outcome;
pub mod parse;
mod persist;
mod rejected;
mod resend;
pub mod result;
pub mod submission;
mod submit;
pub mod validate;

pub use budget::{Budget, BudgetPermit};
pub use config::{Config, MetricConfig, MetricsConfig};
pub use intake::Intake;
pub use rejected::{Rejected, RejectedSink};
pub use result::{BatchResult, EntryError};
pub use submission::{Refused, Submission, Transport};
pub use submit::Ingest;
