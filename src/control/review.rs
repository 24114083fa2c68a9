//! Access reviews: the report as it was generated, the reviewers' answers, and the sign-off (S315–S325).

mod material;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use self::material::{Event, Material, Person};
use super::{
    Actor, Control, Error, FieldError,
    audit::{self, AuditEntry, Target},
    db::now_us,
    integration::Deed,
    page::{Page, PageRequest},
};
use crate::model::{AccessReviewId, IntegrationId, OrganisationId, UserId};

/// The six questions of the quarterly checklist (001:84–90): the name on the wire, and the question.
pub const QUESTIONS: [(&str, &str); 6] = [
    ("in_use", "Are all active integrations still in use?"),
    ("scopes", "Do assigned scopes still match actual usage?"),
    ("credentials", "Are credentials held only by authorised personnel?"),
    ("rate_limits", "Are rate limits appropriate for current traffic patterns?"),
    ("ip_allowlist", "Is IP allowlisting enabled for integrations with static infrastructure?"),
    ("contacts", "Have partner contacts changed, and do only current contacts hold credentials?"),
];
/// Characters of a note, at most.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// Longest period of a review, in days.
pub const PERIOD_DAYS_MAX: i64 = 366;
const DAY_US: i64 = 86_400_000_000;
const CURSOR: &str = "review:";
const COLUMNS: &str = "id, from_us, to_us, generated_at_us, generated_by, report, sha256, answers, version, signed_by, \
    signed_at_us";

/// A review. Times are microseconds (Unix, UTC). Nothing in it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessReview {
    /// Its id.
    pub id: AccessReviewId,
    /// Begin of the period.
    pub from_us: i64,
    /// Its end, exclusive.
    pub to_us: i64,
    /// Who generated it, and when.
    pub generated: Deed,
    /// The report, JSON, byte for byte as generated (S323).
    pub report: String,
    /// SHA-256 of the report, hexadecimal; it stands in the audit log, too.
    pub sha256: String,
    /// By question, or question and integration: `scopes`, `scopes/<id>`.
    pub answers: BTreeMap<String, Answer>,
    /// Grows by one with each change.
    pub version: u64,
    /// Who signed it off, and when; nothing changes afterwards.
    pub signed: Option<Deed>,
}

/// What a reviewer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Nothing needs to be done.
    pub ok: bool,
    /// What was found, or what must be done.
    pub note: String,
    /// Who answered.
    pub by: UserId,
    /// When.
    pub at_us: i64,
}

/// An answer as it is given.
#[derive(Debug, Clone)]
pub struct NewAnswer {
    /// One of [`QUESTIONS`].
    pub question: String,
    /// About this integration; none: the whole.
    pub integration_id: Option<IntegrationId>,
    /// Nothing needs to be done.
    pub ok: bool,
    /// At most [`NOTE_CHARS_MAX`] characters; needed where something must be done.
    pub note: String,
}

/// When the next review is due (S324).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Three months after the end of the last period that was signed off, or after the organisation began.
    pub due_us: i64,
    /// That time has passed.
    pub is_overdue: bool,
}

impl Control {
    /// Stores a report that was made from [`Control::review_material`].
    pub async fn store_review(
        &self,
        actor: Actor,
        period_us: (i64, i64),
        generated_at_us: i64,
        report: String,
    ) -> Result<AccessReview, Error> {
        self.write(move |tx| {
            let id = AccessReviewId::generate();
            tx.attempt(&actor, "access_review_generate_refused", Target::Organisation(actor.organisation_id));
            actor.require_permission(tx)?;
            let sha256: [u8; 32] = Sha256::digest(report.as_bytes()).into();
            tx.execute(
                "INSERT INTO access_reviews
                   (id, organisation_id, from_us, to_us, generated_at_us, generated_by, report, sha256)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (id, actor.organisation_id, period_us.0, period_us.1, generated_at_us, actor.user_id, report, sha256),
            )?;
            let told = json!({
                "from_us": period_us.0, "to_us": period_us.1, "report_sha256": hex::encode(sha256),
            });
            let entry = AuditEntry::by(&actor, "access_review_generate", Target::AccessReview(id));
            audit::append(tx, AuditEntry { after: Some(told), ..entry })?;
            load(tx, actor.organisation_id, id)
        })
        .await
    }

    /// The reviews of `organisation_id` in the order they were generated.
    pub async fn access_reviews(
        &self,
        organisation_id: OrganisationId,
        request: PageRequest,
    ) -> Result<Page<AccessReview>, Error> {
        let (limit, after) = (request.limit()?, request.after(CURSOR)?);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM access_reviews
                 WHERE organisation_id = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
            ))?;
            let rows = statement.query_map((organisation_id, after, limit + 1), read)?;
            let reviews = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(Page::cut(reviews, limit, CURSOR, |review| review.id.as_uuid().as_bytes().to_vec()))
        })
        .await
    }

    /// One review of `organisation_id`.
    pub async fn access_review(
        &self,
        organisation_id: OrganisationId,
        id: AccessReviewId,
    ) -> Result<AccessReview, Error> {
        self.read(move |connection| load(connection, organisation_id, id)).await
    }

    /// One review, taken out as a file; that is written down (S325).
    pub async fn export_review(
        &self,
        actor: Actor,
        id: AccessReviewId,
        format: &'static str,
    ) -> Result<AccessReview, Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "access_review_export_refused", Target::AccessReview(id));
            actor.require_permission(tx)?;
            let review = load(tx, actor.organisation_id, id)?;
            let entry = AuditEntry::by(&actor, "access_review_export", Target::AccessReview(id));
            let told = json!({ "format": format, "report_sha256": review.sha256 });
            audit::append(tx, AuditEntry { after: Some(told), ..entry })?;
            Ok(review)
        })
        .await
    }

    /// Records answers; one to the same question takes the place of the one before.
    ///
    /// # Errors
    /// [`Error::Unready`] once signed off, [`Error::VersionConflict`], [`Error::Invalid`].
    pub async fn answer_review(
        &self,
        actor: Actor,
        id: AccessReviewId,
        version: Option<u64>,
        given: Vec<NewAnswer>,
    ) -> Result<AccessReview, Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "access_review_answer_refused", Target::AccessReview(id));
            actor.require_permission(tx)?;
            let before = changeable(tx, &actor, id, version)?;
            check(&before, &given)?;
            let mut answers = before.answers.clone();
            let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
            for answer in given {
                let key = key(&answer);
                let (ok, note) = (answer.ok, answer.note);
                let answer = Answer { ok, note, by: actor.user_id, at_us: tx.now_us };
                is.insert(key.clone(), answer.clone());
                if let Some(replaced) = answers.insert(key.clone(), answer) {
                    was.entry(key).or_insert(replaced);
                }
            }
            let text = serde_json::to_string(&answers).expect("texts and ids serialise");
            tx.execute("UPDATE access_reviews SET answers = ?2, version = version + 1 WHERE id = ?1", (id, &text))?;
            let entry = AuditEntry::by(&actor, "access_review_answer", Target::AccessReview(id));
            let (was, is) = (json!({ "answers": was }), json!({ "answers": is }));
            audit::append(tx, AuditEntry { before: Some(was), after: Some(is), ..entry })?;
            load(tx, actor.organisation_id, id)
        })
        .await
    }

    /// Signs a review off, once all six questions are answered for the whole. Nothing of it changes afterwards.
    ///
    /// # Errors
    /// [`Error::Unready`] while an answer is missing or once signed off, [`Error::VersionConflict`].
    pub async fn sign_review(
        &self,
        actor: Actor,
        id: AccessReviewId,
        version: Option<u64>,
    ) -> Result<AccessReview, Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "access_review_sign_refused", Target::AccessReview(id));
            actor.require_permission(tx)?;
            let before = changeable(tx, &actor, id, version)?;
            if !QUESTIONS.iter().all(|(name, _)| before.answers.contains_key(*name)) {
                return Err(Error::Unready("answer all six questions for the whole before signing off"));
            }
            tx.execute(
                "UPDATE access_reviews SET signed_by = ?2, signed_at_us = ?3, version = version + 1 WHERE id = ?1",
                (id, actor.user_id, tx.now_us),
            )?;
            let entry = AuditEntry::by(&actor, "access_review_sign", Target::AccessReview(id));
            let told = json!({ "report_sha256": before.sha256, "answers": before.answers });
            audit::append(tx, AuditEntry { after: Some(told), ..entry })?;
            load(tx, actor.organisation_id, id)
        })
        .await
    }

    /// When the next review of `organisation_id` is due, and whether it is late.
    pub async fn review_schedule(&self, organisation_id: OrganisationId) -> Result<Schedule, Error> {
        self.read(move |connection| {
            let sql = "SELECT coalesce(
                (SELECT max(to_us) FROM access_reviews WHERE organisation_id = ?1 AND signed_by IS NOT NULL),
                (SELECT created_at_us FROM organisations WHERE id = ?1))";
            let last_us: i64 = connection.query_row(sql, [organisation_id], |row| row.get(0))?;
            let due_us = quarter_after(last_us);
            Ok(Schedule { due_us, is_overdue: due_us < now_us() })
        })
        .await
    }
}

/// Three months of the calendar (UTC) after `us`.
#[must_use]
pub fn quarter_after(us: i64) -> i64 {
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX).to_zoned_datetime(TimeZone::UTC);
    at.checked_add(3.months()).map_or(i64::MAX, |due| due.timestamp().as_microsecond())
}

/// Says what is wrong with a period that shall be reviewed.
fn check_period(from_us: i64, to_us: i64, now_us: i64) -> Result<(), Error> {
    let mut errors = Vec::new();
    if from_us >= to_us {
        errors.push(FieldError::new("to", "must be later than from"));
    } else if to_us - from_us > PERIOD_DAYS_MAX * DAY_US {
        errors.push(FieldError::new("to", "must be at most 366 days after from"));
    }
    if to_us > now_us {
        errors.push(FieldError::new("to", "must not lie in the future"));
    }
    Error::of_fields(errors)
}

fn key(answer: &NewAnswer) -> String {
    match answer.integration_id {
        Some(id) => format!("{}/{id}", answer.question),
        None => answer.question.clone(),
    }
}

fn check(review: &AccessReview, given: &[NewAnswer]) -> Result<(), Error> {
    let reviewed = reviewed(review)?;
    let mut errors = Vec::new();
    for (index, answer) in given.iter().enumerate() {
        let mut refuse =
            |field: &str, message: &str| errors.push(FieldError::new(format!("answers[{index}].{field}"), message));
        if !QUESTIONS.iter().any(|(name, _)| *name == answer.question) {
            refuse("question", "must be in_use, scopes, credentials, rate_limits, ip_allowlist or contacts");
        }
        if answer.integration_id.is_some_and(|id| !reviewed.contains(&id.to_string())) {
            refuse("integration_id", "is not an integration of this review");
        }
        if answer.note.chars().count() > NOTE_CHARS_MAX {
            refuse("note", "must have at most 2,000 characters");
        }
        if !answer.ok && answer.note.trim().is_empty() {
            refuse("note", "must say what has to be done");
        }
    }
    Error::of_fields(errors)
}

/// The ids of the integrations that the report is about.
fn reviewed(review: &AccessReview) -> Result<Vec<String>, Error> {
    let report: Value = serde_json::from_str(&review.report).map_err(|_| Error::Stored("the report of a review"))?;
    let ids = report["integrations"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
    Ok(ids.map(ToOwned::to_owned).collect())
}

fn changeable(
    connection: &Connection,
    actor: &Actor,
    id: AccessReviewId,
    version: Option<u64>,
) -> Result<AccessReview, Error> {
    let review = load(connection, actor.organisation_id, id)?;
    if review.signed.is_some() {
        return Err(Error::Unready("the review is signed off and never changes again: generate a new one"));
    }
    match version {
        Some(version) if version != review.version => Err(Error::VersionConflict { current: review.version }),
        _ => Ok(review),
    }
}

fn load(connection: &Connection, organisation_id: OrganisationId, id: AccessReviewId) -> Result<AccessReview, Error> {
    let sql = format!("SELECT {COLUMNS} FROM access_reviews WHERE id = ?1 AND organisation_id = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row((id, organisation_id), read)
        .optional()?
        .ok_or(Error::NotFound("access review"))
}

fn read(row: &Row<'_>) -> rusqlite::Result<AccessReview> {
    let answers: String = row.get("answers")?;
    let (by, at_us): (Option<UserId>, Option<i64>) = (row.get("signed_by")?, row.get("signed_at_us")?);
    Ok(AccessReview {
        id: row.get("id")?,
        from_us: row.get("from_us")?,
        to_us: row.get("to_us")?,
        generated: Deed { by: row.get("generated_by")?, at_us: row.get("generated_at_us")? },
        report: row.get("report")?,
        sha256: hex::encode(row.get::<_, [u8; 32]>("sha256")?),
        answers: serde_json::from_str(&answers)
            .map_err(|source| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(source)))?,
        version: row.get("version")?,
        signed: by.zip(at_us).map(|(by, at_us)| Deed { by, at_us }),
    })
}

#[cfg(test)]
mod tests {
    use super::{check_period, quarter_after};

    fn us(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    // S324: three months of the calendar, however long they are.
    #[test]
    fn a_quarter_is_three_months() {
        for (end, due) in [("2026-01-01", "2026-04-01"), ("2026-11-30", "2027-02-28"), ("2027-11-30", "2028-02-29")] {
            assert_eq!(quarter_after(us(&format!("{end}T00:00:00Z"))), us(&format!("{due}T00:00:00Z")), "{end}");
        }
    }

    #[test]
    fn a_period_runs_forward_and_ends_in_the_past() {
        let day = |number: i64| number * super::DAY_US;
        for (from, to, good) in
            [(0, 90, true), (0, 366, true), (0, 367, false), (90, 90, false), (90, 0, false), (300, 501, false)]
        {
            assert_eq!(check_period(day(from), day(to), day(500)).is_ok(), good, "{from} {to}");
        }
    }
}
