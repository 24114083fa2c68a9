//! Why a call of the control plane failed: refusals, which the caller answers by [`Error::problem`], and faults.

use std::path::PathBuf;

use crate::model::{ProblemCode, Scope, Status};

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
}

impl FieldError {
    /// `field` is refused because of `message`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// A refusal or a fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such object in the actor's organisation; another organisation's object answers the same (S008).
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The actor lacks the permission `administration_integrations_access`, or is not an active member (S001).
    #[error("the permission administration_integrations_access is missing")]
    PermissionDenied,
    /// The integration was suspended or revoked, or its key replaced, after its call had been let in (S115).
    #[error("status or key changed while the call was in flight")]
    NoLongerValid,
    /// The integration does not have the scope that the call needs.
    #[error("This call needs the scope {0}, which the integration was not granted.")]
    ScopeMissing(Scope),
    /// The requester tried to approve (S066).
    #[error("a different administrator must approve: the requester cannot")]
    SelfApproval,
    /// The last suspender tried to reactivate (S125).
    #[error("a different administrator must reactivate: who suspended cannot")]
    SelfReactivation,
    /// Who granted a permission, or receives it, tried to confirm it.
    #[error("a different holder of the permission must confirm")]
    SelfConfirmation,
    /// The status does not allow the action (S149).
    #[error("{action} is not possible while the integration is {status}")]
    InvalidState {
        /// What was tried.
        action: &'static str,
        /// Where the integration stands.
        status: Status,
    },
    /// The object's state does not allow the action, for a reason that is not an integration's status.
    #[error("{0}")]
    Unready(&'static str),
    /// 20 are Active or Suspended (S153, S158).
    #[error(
        "the organisation already has 20 active integrations, suspended ones included: revoke one that is no longer used"
    )]
    IntegrationLimit,
    /// The integration has as much equipment as it may.
    #[error("the integration has {0} pieces of equipment, retired ones included, and may have no more")]
    EquipmentLimit(u32),
    /// The integration has as many webhooks as it may.
    #[error("the integration has {0} webhooks and may have no more: delete one, or let one take more events")]
    WebhookLimit(u32),
    /// Another object has this unique value.
    #[error("{field}: {message}")]
    Conflict {
        /// The field's name on the wire.
        field: &'static str,
        /// Who has it, without telling of other organisations.
        message: &'static str,
    },
    /// The object changed since the version that the caller had read (S073, S103).
    #[error("changed meanwhile: the version is {current} now")]
    VersionConflict {
        /// The version as it stands.
        current: u64,
    },
    /// Fields that were refused; nothing was changed (S101).
    #[error("{} field(s) refused", .0.len())]
    Invalid(Vec<FieldError>),
    /// A parameter of a list (cursor, limit, filter) cannot be read.
    #[error("{0}")]
    InvalidParameter(&'static str),

    /// The database's directory or file cannot be made ready.
    #[error("cannot prepare {path}")]
    Prepare {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open the control database {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The database was written by a newer program.
    #[error(
        "the control database has schema {found}, this program knows {known} at most: start the newer program again"
    )]
    SchemaTooNew {
        /// What the file says.
        found: usize,
        /// What this program has.
        known: usize,
    },
    /// A step of the schema failed.
    #[error("cannot bring the control database to schema {number}")]
    Migrate {
        /// The step.
        number: usize,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A statement failed: a disk that is full or broken, a lock held too long, or a constraint that code should have
    /// kept.
    #[error("a statement on the control database failed")]
    Statement(#[from] rusqlite::Error),
    /// A stored value cannot be read back.
    #[error("a stored value cannot be read: {0}")]
    Stored(&'static str),
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random(#[source] getrandom::Error),
    /// The key that signs the heads of the audit chains cannot be used.
    #[error("the audit key {path} cannot be used: {reason}")]
    AuditKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The keys that the secrets of webhooks are encrypted with cannot be used.
    #[error("the file of webhook keys {path} cannot be used: {reason}")]
    WebhookKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A password cannot be hashed.
    #[error("{0}")]
    Password(&'static str),
    /// A task of the control plane died.
    #[error("a task of the control plane died")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// `Ok` where no field was refused.
    pub(super) fn of_fields(errors: Vec<FieldError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::Invalid(errors)) }
    }

    /// What the administrator is answered. Faults are [`ProblemCode::Internal`]: the caller logs them.
    #[must_use]
    pub fn problem(&self) -> ProblemCode {
        match self {
            Self::NotFound(_) => ProblemCode::NotFound,
            Self::PermissionDenied => ProblemCode::PermissionDenied,
            Self::NoLongerValid => ProblemCode::Unauthorized,
            Self::ScopeMissing(_) => ProblemCode::InsufficientScope,
            Self::SelfApproval => ProblemCode::SelfApproval,
            Self::SelfReactivation => ProblemCode::SelfReactivation,
            Self::SelfConfirmation => ProblemCode::SelfConfirmation,
            Self::InvalidState { .. } | Self::Unready(_) => ProblemCode::InvalidState,
            Self::IntegrationLimit => ProblemCode::IntegrationLimit,
            Self::EquipmentLimit(_) => ProblemCode::EquipmentLimit,
            Self::WebhookLimit(_) => ProblemCode::WebhookLimit,
            Self::Conflict { .. } => ProblemCode::Conflict,
            Self::VersionConflict { .. } => ProblemCode::VersionConflict,
            Self::Invalid(_) => ProblemCode::ValidationFailed,
            Self::InvalidParameter(_) => ProblemCode::InvalidParameter,
            Self::Prepare { .. }
            | Self::Open { .. }
            | Self::SchemaTooNew { .. }
            | Self::Migrate { .. }
            | Self::Statement(_)
            | Self::Stored(_)
            | Self::Random(_)
            | Self::AuditKey { .. }
            | Self::WebhookKey { .. }
            | Self::Password(_)
            | Self::Task(_) => ProblemCode::Internal,
        }
    }

    /// Whether the refusal is about the person: such attempts stand in the audit log (S287).
    #[must_use]
    pub(super) fn is_about_the_person(&self) -> bool {
        matches!(self, Self::PermissionDenied | Self::SelfApproval | Self::SelfReactivation | Self::SelfConfirmation)
    }
}
