//! What the operator sees: logs, metrics, health; and named tasks, so that a log line says which one died.

pub mod health;
pub mod logging;
pub mod metrics;
pub mod task;
