//! # sensorgate: the path of a batch
//!
//! ```text
//! http: accept → headers → Credential ┐
//! mqtt: CONNECT → Credential ─────────┼ auth::authenticate → Principal → ingest::submit(&Principal, Submission)
//! bridge: message → Credential ───────┘      admit     window, quota, scope, in-flight bytes, spool headroom
//!                                            parse     bytes → entries
//!                                            validate  registry, metric, unit, range, time → ValidBatch + errors
//!                                            append    gate: status and generation again → spool::Writer → Receipt
//!       ← status and body                    outcome   one per submission, counted in one place
//! background: delivery ← spool::Reader → store → cursor → segment dropped; what the store refuses → quarantine
//! registry:   admin → control → auth snapshot, swapped atomically
//! ```
//!
//! The modules stand in reading order. Who may import whom is a table in `docs/architecture.md`, enforced by
//! `tests/tidy.rs`.

pub mod admin;
pub mod app;
pub mod auth;
pub mod bridge;
pub mod cli;
pub mod config;
pub mod control;
pub mod delivery;
mod demo;
pub mod http;
pub mod ingest;
pub mod integration_api;
pub mod issuer;
pub mod journal;
pub mod listener;
pub mod model;
pub mod mqtt;
pub mod quarantine;
pub mod request_log;
mod rest;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod webhook;
