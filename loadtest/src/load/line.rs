//! What a batch is sent over: a connection of one's own, a share of an HTTP/2 connection, or of an MQTT session.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::Job;
use crate::connection::{Answer, Connection, Failure};
use crate::mqtt::Client;
use crate::mqtt::session::{Receipt, Session};

/// One line; it is opened when it is first used, and again after it was cut.
#[derive(Debug)]
pub(super) enum Line {
    Http {
        /// The HTTP/2 connection that the streams share.
        shared: Rc<RefCell<Option<Connection>>>,
        own: Option<Connection>,
    },
    Mqtt(Rc<SessionLine>),
}

/// An MQTT session that several publishes share. A client id has one session, so only one of them reconnects.
#[derive(Debug)]
pub(super) struct SessionLine {
    /// Index of its integration in this thread.
    pub(super) local: usize,
    client: Client,
    session: Mutex<Option<Session>>,
}

/// What came back of a batch.
#[derive(Debug)]
pub(super) enum Reply {
    Http(Answer),
    Mqtt(Receipt),
}

impl SessionLine {
    pub(super) fn new(local: usize, client: Client) -> Self {
        Self { local, client, session: Mutex::new(None) }
    }
}

impl Line {
    /// The integration that it is bound to, as an index in this thread.
    pub(super) fn local(&self) -> Option<usize> {
        match self {
            Self::Http { .. } => None,
            Self::Mqtt(line) => Some(line.local),
        }
    }

    /// Sends a batch once.
    pub(super) async fn attempt(&mut self, job: &Job, integration: u32, body: Bytes) -> Result<Reply, Failure> {
        let timeout = Duration::from_millis(job.profile.timeout_ms);
        match self {
            Self::Http { shared, own } => {
                let mut connection = match own.take() {
                    Some(connection) => connection,
                    None => connect(job, shared).await?,
                };
                let answer = connection.exchange(job.envelope(integration), body, timeout).await?;
                *own = Some(connection);
                Ok(Reply::Http(answer))
            }
            Self::Mqtt(line) => {
                let session = line.open(job, integration).await?;
                Ok(Reply::Mqtt(session.publish(body, timeout).await?))
            }
        }
    }
}

/// A connection of one's own (HTTP/1.1), or a handle to the one of this line (HTTP/2).
async fn connect(job: &Job, shared: &RefCell<Option<Connection>>) -> Result<Connection, Failure> {
    let usable = |line: &Connection| match line {
        Connection::Http1(_) => None,
        Connection::Http2(sender) => (!sender.is_closed()).then(|| line.share()).flatten(),
    };
    if let Some(handle) = shared.borrow().as_ref().and_then(usable) {
        return Ok(handle);
    }
    let connection = job.connector.connect().await?;
    *shared.borrow_mut() = connection.share();
    Ok(connection)
}

impl SessionLine {
    async fn open(&self, job: &Job, integration: u32) -> Result<Session, Failure> {
        let mut session = self.session.lock().await;
        if let Some(open) = session.as_ref().filter(|session| !session.has_ended()) {
            return Ok(open.clone());
        }
        let opened = Session::open(job.gateway(integration), &self.client, job.profile.mqtt.in_flight).await?;
        *session = Some(opened.clone());
        Ok(opened)
    }
}
