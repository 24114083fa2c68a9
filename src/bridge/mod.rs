//! Cluster mode (`api.md` §2): the service as a client of somebody else's MQTT broker. Many nodes share the load of one
//! shared subscription; each takes a message, judges it by the credentials that the message itself carries, makes it
//! durable, and only then acknowledges it to the broker.
//!
//! ```text
//! broker ──inbox connection──▶ Inbox ─▶ Desk: credentials, capacity, window, turn, submit ─▶ ack, in order of arrival
//!        ◀─results connection── Outbox ◀──────────── result or problem document
//! ```
//!
//! A message that can be stored later is never acknowledged: it is held, and after a while the connection is given up,
//! so that the broker sends the message again, to this node or to another. `docs/cluster-mode.md` says what that means
//! with which broker, `docs/adr/0008-client-of-a-broker.md` why it is built like this.

mod acks;
mod broker;
mod config;
mod desk;
mod error;
mod identity;
mod inbox;
mod link;
mod message;
mod meters;
mod outbox;
mod refusal;
mod seam;
mod status;
mod turns;

use std::{path::Path, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use error::Error;
pub use seam::Door;

use crate::{
    ingest::{Budget, Intake},
    journal::Journal,
    model::Backoff,
    telemetry::{health::Health, task},
};
use broker::Broker;
use desk::Desk;
use inbox::Inbox;
use meters::Meters;
use outbox::Outbox;
use status::Status;

/// What a [`Bridge`] is made of.
#[derive(Debug)]
pub struct Args<D, I> {
    /// `[bridge]`.
    pub config: Config,
    /// Lets senders in.
    pub door: Arc<D>,
    /// Takes batches in.
    pub intake: Arc<I>,
    /// Bytes of batches in memory, shared with the other edges.
    pub budget: Budget,
    /// Where a record of each message goes.
    pub journal: Arc<dyn Journal>,
    /// Where it is said that the broker cannot be reached.
    pub health: Health,
    /// The URL below which the pages of problem codes are, without a slash at the end; may be empty.
    pub public_url: String,
}

/// A node of the cluster, ready to run.
#[derive(Debug)]
pub struct Bridge<D, I> {
    config: Arc<Config>,
    broker: Arc<Broker>,
    client_id: String,
    desk: Arc<Desk<D, I>>,
    outbox: Outbox,
    status: Status,
    meters: Arc<Meters>,
}

impl<D: Door, I: Intake> Bridge<D, I> {
    /// Reads what has to be read from disk: the client id of this node, kept in `data_dir`, and once, to see whether
    /// they are there, password and certificate authorities. The broker is not asked yet.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn new(args: Args<D, I>, data_dir: &Path) -> Result<Self, Error> {
        let config = Arc::new(args.config);
        let broker = Arc::new(Broker::new(&config)?);
        let client_id = identity::client_id(data_dir, &config.client_id)?;
        let meters = Arc::new(Meters::new());
        let (outbox, replies) = Outbox::new(&config, &meters);
        let status = Status::new(Arc::clone(&broker), args.health, Arc::clone(&meters));
        let desk = Desk {
            config: Arc::clone(&config),
            door: args.door,
            intake: args.intake,
            budget: args.budget,
            replies,
            journal: args.journal,
            public_url: args.public_url.trim_end_matches('/').to_owned(),
            refusal_lines: refusal::Lines::new(config.refusal_lines_per_minute),
            meters: Arc::clone(&meters),
        };
        Ok(Self { config, broker, client_id, desk: Arc::new(desk), outbox, status, meters })
    }

    /// Takes messages until `shutdown`, and again after every loss of the connection. Then what is durable is
    /// acknowledged, results are sent, and the connections are closed; the session at the broker stays.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, broker, client_id, desk, outbox, status, meters } = self;
        let outbox_shutdown = CancellationToken::new();
        let sending = {
            let (config, broker, client_id) =
                (Arc::clone(&config), Arc::clone(&broker), format!("{client_id}-results"));
            task::spawn("bridge_outbox", outbox.run(config, broker, client_id, outbox_shutdown.clone()))
        };
        let inbox = Inbox { config: &config, client_id: &client_id, desk: &desk, status: &status, meters: &meters };
        let mut backoff = Backoff::new(config.reconnect_min(), config.reconnect_max());
        loop {
            let started = Instant::now();
            let Err(error) = inbox.serve(&broker, &shutdown).await else { break };
            if started.elapsed() > config.reconnect_max() {
                backoff.reset();
            }
            let pause = backoff.pause();
            status.lost(&error, pause);
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        status.stopped();
        outbox_shutdown.cancel();
        if let Err(error) = sending.await {
            tracing::error!(error = &error as &dyn std::error::Error, "The sender of results ended by a panic.");
        }
    }
}

#[cfg(test)]
mod tests;
