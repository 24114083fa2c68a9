//! What goes wrong: at the start, for good ([`Error`]), and with a connection, for now ([`LinkError`]).

use std::{error::Error as _, io, path::PathBuf};

use mqtt_client::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, StateError};

/// Why cluster mode cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of the broker's password cannot be read.
    #[error("cannot read the broker's password from {}", path.display())]
    Password {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of certificate authorities cannot be read as PEM, or holds no certificate.
    #[error("cannot read certificate authorities from {}", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot use TLS towards the broker")]
    Tls(#[from] rustls::Error),
    /// The client id cannot be kept.
    #[error("cannot keep this node's client id in {}", path.display())]
    ClientId {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration was not checked before.
    #[error("{0}")]
    Config(String),
}

/// Why there is no connection, or no longer. Never holds anything of a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Files needed for a connection are gone.
    #[error("the connection cannot be prepared")]
    Prepare(#[from] Error),
    /// Nobody answers.
    #[error("the broker cannot be reached")]
    Dial(#[source] io::Error),
    /// It takes longer than `connect_timeout_ms`.
    #[error("the broker does not answer in time")]
    Timeout,
    /// CONNACK with a reason.
    #[error("the broker refuses the connection: {0:?}")]
    Refused(ConnectReturnCode),
    /// No shared subscriptions, or not for us.
    #[error("the broker refuses the subscription to {filter}: {reason}")]
    NotSubscribed { filter: String, reason: String },
    /// DISCONNECT with a reason.
    #[error("the broker ended the connection: {0:?}")]
    Ended(DisconnectReasonCode),
    /// Another client came with the same client id.
    #[error(
        "another client took over the client id {0}: give each node its own bridge.client_id, or a data directory \
         without the copied file bridge/client-id"
    )]
    TakenOver(String),
    /// The socket closed, or what came over it is no MQTT.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// A message could not be made durable for `hold_ms`.
    #[error("messages cannot be stored now ({0}); the connection is given up so that another node may get them")]
    Held(&'static str),
}

impl LinkError {
    /// What the client library reports, without any packet that it may carry.
    pub(super) fn from_library(error: ConnectionError, client_id: &str) -> Self {
        match error {
            ConnectionError::Timeout(_) => Self::Timeout,
            ConnectionError::ConnectionRefused(code) => Self::Refused(code),
            ConnectionError::NotConnAck(_) => Self::Lost("the first packet was no CONNACK".to_owned()),
            ConnectionError::Io(error) => Self::Lost(error.to_string()),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code {
                DisconnectReasonCode::SessionTakenOver => Self::TakenOver(client_id.to_owned()),
                other => Self::Ended(other),
            },
            other => Self::Lost(other.to_string()),
        }
    }

    /// The error with its causes, on one line.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
