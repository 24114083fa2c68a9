//! Black-box tests: the real binary, over its sockets, with client libraries that are not ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
#![allow(clippy::print_stderr, reason = "a failing test tells what it saw")]

#[allow(unreachable_pub, reason = "what the tests share, in one place")]
#[allow(dead_code, reason = "not every test needs all of it")]
mod support;

mod access_review;
mod acks;
mod allowlist;
mod asyncapi;
mod audit;
mod auth;
mod barrier;
mod batch;
mod bridge;
mod catalogue;
mod cheating;
mod cheating_cli;
mod cli;
mod cli_docs;
mod cli_routes;
mod cli_terminal;
mod credentials;
mod demo;
mod drill;
mod drill_cli;
mod equipment;
mod equipment_registry;
mod examples;
mod lifecycle;
mod limits;
mod mqtt;
mod mqtt_barrier;
mod mqtt_clients;
mod mqtt_faults;
mod mqtt_hostile;
mod mqtt_limits;
mod mqtt_ports;
mod mqtt_refusals;
mod mqtt_transports;
mod own_limits;
mod quarantine;
mod recovery;
mod request_log;
mod review_cli;
mod schemathesis;
mod secrets;
mod start;
mod webhooks;
