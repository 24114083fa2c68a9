//! # loadtest: a load generator that keeps a ledger
//!
//! Black box: it knows the contract of sensorgate (HTTP and MQTT in, admin API out) and nothing of its code.
//!
//! ```text
//! profile ─→ workload   every reading is a function of (integration, running number): nothing needs remembering
//!              │
//! fixture ─→ server     starts it on a data directory prepared by `setup` (organisations, integrations, equipment)
//!              │
//!            load       closed or open loop; connections, sessions; each answer goes to the ledger and the tally
//!              │        meanwhile: process samples, kill plan, idle and slow crowd, lag probe
//!            readback   the ledger against what the server gives back: lost, doubled, wrong, unexpected
//!              │
//!            report     report.json, report.html, goals with pass or miss
//! ```
//!
//! Ratios count only inside one run of `all`, which interleaves its profiles round by round.

pub mod admin_client;
pub mod body;
pub mod connection;
pub mod crowd;
pub mod fixture;
pub mod floor;
pub mod lag;
pub mod ledger;
pub mod load;
pub mod measure;
pub mod mqtt;
pub mod plan;
pub mod process;
pub mod profile;
pub mod readback;
pub mod report;
pub mod rounds;
pub mod run;
pub mod schedule;
pub mod server;
pub mod setup;
