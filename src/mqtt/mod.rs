//! The integration API over MQTT 3.1.1 and 5: protocol on one side, a submission on the other.
//!
//! This room owns what is MQTT about a batch: the CONNECT and its two credentials, the two topics of an integration,
//! which packets are refused and how, acknowledgements in the order of arrival, results on the integration's own
//! topic, and the end of a session. It knows neither how callers are told apart (auth) nor what makes a reading good
//! (ingest), and it never accepts a connection itself (listener). The codec is `rmqtt-codec` (ADR 7).
//!
//! ```text
//! listener → connection → connect → session ┬ wire      bytes ⇄ packets, limits before memory
//!                                           ├ publish   may this be published?
//!                                           ├ receipts  pending batches; done in the order of arrival
//!                                           ├ verdict   outcome → acknowledgement, result, end (api.md §2)
//!                                           └ audience  results → every session that subscribed
//! ```

mod asyncapi;
mod audience;
mod clock;
mod codec;
mod config;
mod connect;
mod connection;
mod edge;
mod encode;
mod ending;
mod exchange;
mod header;
mod meters;
mod packet;
mod publish;
mod receipts;
mod results;
mod seam;
mod session;
mod subscribe;
mod topic;
mod verdict;
mod websocket;
mod wire;

#[cfg(test)]
mod tests;

pub use asyncapi::{Described, asyncapi};
pub use config::Config;
pub use edge::{Args, Edge, Framing};
pub use seam::{Answering, Door, Intake};
