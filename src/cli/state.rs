//! Sessions between commands: one private file a service below `$XDG_STATE_HOME/sensorgate/`, gone after signing out.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Error, Result};

/// Holds the address that was signed in to last.
const CURRENT: &str = "current";

/// A session as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) url: String,
    pub(super) email: String,
    pub(super) access_token: String,
    /// RFC 3339; it may end earlier.
    pub(super) expires_at: String,
}

/// The variables that the commands know.
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(super) fn read() -> Self {
        Self(crate::config::environment().collect())
    }

    /// A variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The folder of the sessions.
    ///
    /// # Errors
    /// Without `XDG_STATE_HOME` and `HOME`.
    pub(super) fn state_dir(&self) -> Result<StateDir> {
        let absolute = |name| self.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state_home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let none = || {
            Error::usage(
                "neither XDG_STATE_HOME nor HOME is set: there is no place for the session. Set SENSORGATE_TOKEN.",
            )
        };
        Ok(StateDir(state_home.ok_or_else(none)?.join("sensorgate")))
    }
}

/// The folder of the sessions.
pub(super) struct StateDir(PathBuf);

impl StateDir {
    fn file(&self, url: &str) -> PathBuf {
        let digest = hex::encode(Sha256::digest(url.as_bytes()));
        self.0.join(format!("session-{}.json", &digest[..16]))
    }

    /// Where somebody signed in last.
    pub(super) fn current_url(&self) -> Option<String> {
        fs::read_to_string(self.0.join(CURRENT)).ok().map(|text| text.trim().to_owned()).filter(|url| !url.is_empty())
    }

    /// The session with `url`, unless it is over.
    ///
    /// # Errors
    /// When others could read the file: who knows who has.
    pub(super) fn session(&self, url: &str) -> Result<Option<Kept>> {
        let path = self.file(url);
        let Ok(metadata) = fs::metadata(&path) else { return Ok(None) };
        if metadata.permissions().mode() & 0o077 != 0 {
            let path = path.display();
            return Err(Error::NotSignedIn(format!(
                "{path} can be read by others, so its session is not used. Sign out and in again: sensorgate logout, \
                 sensorgate login"
            )));
        }
        let text =
            fs::read_to_string(&path).map_err(|source| Error::File { what: "read", path: path.clone(), source })?;
        let kept = serde_json::from_str::<Kept>(&text).ok().filter(|kept| kept.url == url);
        let is_over =
            |kept: &Kept| kept.expires_at.parse().is_ok_and(|at: jiff::Timestamp| at <= jiff::Timestamp::now());
        if kept.as_ref().is_none_or(is_over) {
            self.forget(url)?;
            return Ok(None);
        }
        Ok(kept)
    }

    /// Keeps a session, in place of the one before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn keep(&self, kept: &Kept) -> Result {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { what: "write", path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed(&self.0))?;
        let path = self.file(&kept.url);
        let json = serde_json::to_string(kept).expect("texts can be written as JSON");
        write_private(&path, &json).map_err(failed(&path))?;
        let current = self.0.join(CURRENT);
        write_private(&current, &kept.url).map_err(failed(&current))
    }

    /// Removes the session with `url`.
    ///
    /// # Errors
    /// When the file stays.
    pub(super) fn forget(&self, url: &str) -> Result {
        let path = self.file(url);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

/// Mode 0600 from its first byte on, and whole once it has its name.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, path)
}
