//! MQTT as a gateway speaks it: 3.1.1 and 5, QoS 1, clean sessions. The packets are written and read by rumqttc's
//! codec; its event loop is left out, for the same reason for which HTTP is sent without a pool: every acknowledgement
//! has to be told apart from a lost one, and the generator must cost little.

pub mod packet;
pub mod session;
pub mod visitor;

use std::net::SocketAddr;

use crate::connection::Credentials;
use crate::profile::{Server, Version};

/// Where a session's packets go, and in whose name.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The server.
    pub addr: SocketAddr,
    /// Topic of its readings.
    pub topic: String,
    /// Topic of their results.
    pub results_topic: String,
    /// Password and user name; `None` for a peer that asks for nothing.
    pub credentials: Option<Credentials>,
}

/// Who connects.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its client id, unique within the run.
    pub id: String,
    /// Version of the protocol that it speaks.
    pub version: Version,
    /// Whether it subscribes to the results of its publishes.
    pub results: bool,
}

impl Gateway {
    /// The gateway of an integration, with the topics of `server`.
    #[must_use]
    pub fn new(addr: SocketAddr, server: &Server, integration_id: &str, credentials: Option<Credentials>) -> Self {
        let fill = |topic: &str| topic.replace("{integration_id}", integration_id);
        Self { addr, topic: fill(&server.topic), results_topic: fill(&server.results_topic), credentials }
    }

    /// Where the results for `client` are published: over 5 on a topic of its own, over 3.1.1 on everybody's.
    #[must_use]
    pub fn results_of(&self, client: &Client) -> String {
        match client.version {
            Version::V311 => self.results_topic.clone(),
            Version::V5 => format!("{}/{}", self.results_topic, client.id),
        }
    }
}
