//! Why a command of an administrator did not do what was asked, and the exit code that says so to a script.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the service refused, or said no |
//! | 2 | usage: arguments, or a confirmation that nobody could give |
//! | 3 | not signed in |
//! | 4 | not found |
//! | 5 | conflict: the state does not allow it, or somebody else was faster |
//! | 6 | the service cannot be reached |
//! | 7 | done in part: standard output says which entries were refused |

use std::{fmt, io, path::PathBuf};

use serde::Deserialize;

pub(super) type Result<T = ()> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The service answered with a problem.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The arguments do not make sense together, or a question could not be asked.
    #[error("{0}")]
    Usage(String),
    /// There is no session, or it has ended.
    #[error("{0}")]
    NotSignedIn(String),
    /// No object goes by this name.
    #[error("{0}")]
    NotFound(String),
    /// Nobody answered.
    #[error("cannot reach {url}\n  Is the service running there? --url or SENSORGATE_URL names another address.")]
    Unreachable {
        /// Where it should have been.
        url: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// Something answered that is not this service, or in a form that this version does not know.
    #[error("{url} answered with something else than expected: {what}\n  Does --url lead to the administrators' API?")]
    Strange {
        /// The call.
        url: String,
        /// What it answered.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard input, standard output or the terminal.
    #[error("cannot use the terminal or a pipe")]
    Stream(#[from] io::Error),
    /// The answer stands on standard output, and not everything was accepted.
    #[error("{0}")]
    Partial(String),
    /// The service answered, and the answer is no.
    #[error("{0}")]
    Negative(String),
}

/// A problem document (RFC 9457) with what the command adds to it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    /// What to do next, where the document does not say it.
    pub(super) hint: Option<String>,
}

/// The fields of a problem document that people need.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) code: String,
    pub(super) request_id: String,
    pub(super) errors: Vec<FieldProblem>,
}

/// A field that was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldProblem {
    field: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, hint } = self;
        write!(f, "{}", if problem.detail.is_empty() { &problem.title } else { &problem.detail })?;
        for FieldProblem { field, message } in &problem.errors {
            write!(f, "\n  {field}: {message}")?;
        }
        if let Some(hint) = hint {
            write!(f, "\n  {hint}")?;
        }
        write!(f, "\n  code {}, HTTP {}", problem.code, problem.status)?;
        if problem.request_id.is_empty() { Ok(()) } else { write!(f, ", request {}", problem.request_id) }
    }
}

impl Error {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => match refusal.problem.status {
                401 => 3,
                404 => 4,
                409 | 412 => 5,
                _ => 1,
            },
            Self::Negative(_) | Self::Strange { .. } | Self::File { .. } | Self::Stream(_) => 1,
            Self::Usage(_) => 2,
            Self::NotSignedIn(_) => 3,
            Self::NotFound(_) => 4,
            Self::Unreachable { .. } => 6,
            Self::Partial(_) => 7,
        }
    }

    /// Whoever read our output has seen enough (`… | head`): no reason to complain.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
