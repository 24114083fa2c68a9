//! What the control plane knows for a review, read in one transaction.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use super::check_period;
use crate::{
    control::{Actor, Control, Error, Integration, db::now_us, integration},
    model::{OrganisationId, UserId},
};

/// Events of a report, at most; that there were more is said.
const EVENTS_MAX: usize = 5_000;

/// Everything but the traffic.
#[derive(Debug, Clone)]
pub struct Material {
    /// The organisation's name.
    pub organisation: String,
    /// Active and Suspended ones, in the order they were created (S315).
    pub integrations: Vec<Integration>,
    /// All members, by id.
    pub people: BTreeMap<UserId, Person>,
    /// What administrators did to integrations and members in the period, and tried in vain.
    pub events: Vec<Event>,
    /// There were more events than a report takes.
    pub has_more_events: bool,
    /// Place and hash (hexadecimal) of the last audit entry.
    pub audit_head: (u64, String),
    /// When this was read, in microseconds (Unix).
    pub at_us: i64,
}

/// A member.
#[derive(Debug, Clone)]
pub struct Person {
    /// The address they sign in with.
    pub email: String,
    /// For people.
    pub name: String,
    /// Whether they can sign in.
    pub active: bool,
    /// When they last did, in microseconds (Unix).
    pub last_login_at_us: Option<i64>,
    /// `held`, `pending` or `removed`; none: never had the permission.
    pub permission: Option<String>,
    /// `bootstrap`, `grant` or `break_glass`.
    pub origin: Option<String>,
    /// Who gave it, and who confirmed it.
    pub granted_by: Option<UserId>,
    /// See `granted_by`.
    pub confirmed_by: Option<UserId>,
    /// When it was confirmed, in microseconds (Unix).
    pub confirmed_at_us: Option<i64>,
}

/// One entry of the audit log, and who the first of the two was where two were needed.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in the chain.
    pub seq: u64,
    /// The entry as stored.
    pub body: Value,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Who requested what was approved, or suspended what was reactivated.
    pub counterpart: Option<String>,
}

impl Control {
    /// What there is to say about the integrations and members of the actor's organisation.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a period that runs backwards, into the future, or over more than a year.
    pub async fn review_material(&self, actor: Actor, from_us: i64, to_us: i64) -> Result<Material, Error> {
        let at_us = now_us();
        check_period(from_us, to_us, at_us)?;
        let organisation_id = actor.organisation_id;
        self.read(move |connection| {
            let connection = connection.unchecked_transaction()?;
            let mut events = events(&connection, organisation_id, from_us, to_us)?;
            let has_more_events = events.len() > EVENTS_MAX;
            events.truncate(EVENTS_MAX);
            Ok(Material {
                organisation: connection.query_row(
                    "SELECT name FROM organisations WHERE id = ?1",
                    [organisation_id],
                    |row| row.get(0),
                )?,
                integrations: integration::in_use(&connection, organisation_id)?,
                people: people(&connection, organisation_id)?,
                events,
                has_more_events,
                audit_head: connection.query_row(
                    "SELECT seq, hash FROM audit_entries WHERE organisation_id = ?1 ORDER BY seq DESC LIMIT 1",
                    [organisation_id],
                    |row| Ok((row.get(0)?, hex::encode(row.get::<_, [u8; 32]>(1)?))),
                )?,
                at_us,
            })
        })
        .await
    }
}

fn people(connection: &Connection, organisation_id: OrganisationId) -> Result<BTreeMap<UserId, Person>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT u.id, u.email, u.name, u.active, u.last_login_at_us, p.state, p.origin, p.granted_by, p.confirmed_by,
                p.confirmed_at_us
         FROM users u LEFT JOIN user_permissions p ON p.user_id = u.id WHERE u.organisation_id = ?1",
    )?;
    let rows = statement.query_map([organisation_id], |row| {
        let person = Person {
            email: row.get(1)?,
            name: row.get(2)?,
            active: row.get(3)?,
            last_login_at_us: row.get(4)?,
            permission: row.get(5)?,
            origin: row.get(6)?,
            granted_by: row.get(7)?,
            confirmed_by: row.get(8)?,
            confirmed_at_us: row.get(9)?,
        };
        Ok((row.get(0)?, person))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn events(
    connection: &Connection,
    organisation_id: OrganisationId,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<Event>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT e.seq, e.body, e.hash,
           CASE e.action
             WHEN 'integration_approve' THEN
               (SELECT p.actor FROM audit_entries p
                WHERE p.organisation_id = e.organisation_id AND p.target = e.target AND p.action = 'integration_create'
                ORDER BY p.seq LIMIT 1)
             WHEN 'integration_reactivate' THEN
               (SELECT p.actor FROM audit_entries p
                WHERE p.organisation_id = e.organisation_id AND p.target = e.target AND p.seq < e.seq
                  AND p.action = 'integration_suspend' ORDER BY p.seq DESC LIMIT 1)
           END
         FROM audit_entries e
         WHERE e.organisation_id = ?1 AND e.at_us >= ?2 AND e.at_us < ?3
           AND (e.action GLOB 'integration_*' OR e.action GLOB 'user_*' OR e.action GLOB 'admin_call_refused')
         ORDER BY e.seq LIMIT ?4",
    )?;
    let rows = statement.query_map((organisation_id, from_us, to_us, EVENTS_MAX + 1), |row| {
        let body: String = row.get(1)?;
        Ok(Event {
            seq: row.get(0)?,
            body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
            hash: hex::encode(row.get::<_, [u8; 32]>(2)?),
            counterpart: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
