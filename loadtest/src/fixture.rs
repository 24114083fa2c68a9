//! Prepared data directories. Making ten thousand integrations or a million sensors takes minutes, and every round of
//! every profile needs them afresh: so they are made once, kept, and copied.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::plan::Plan;
use crate::profile::Profile;
use crate::server::Server;
use crate::setup::{self, Estate};

/// A directory of its own that is removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A fresh one below `work_dir`, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(work_dir: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("run-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = work_dir.join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left for whoever tidies the temporary directory.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// Puts a data directory for `plan` at `data_dir`, from the kept ones or made new; gives what is in it.
///
/// # Errors
///
/// When it cannot be made.
pub fn furnish(profile: &Profile, plan: &Plan, binary: &Path, work_dir: &Path, data_dir: &Path) -> Result<Estate> {
    let kept = work_dir.join(format!("fixture-{:016x}", key(plan, binary)?));
    let estate_file = kept.join("estate.json");
    if !estate_file.is_file() {
        eprintln!(
            "  preparing {} integrations and {} sensors",
            plan.integrations,
            plan.integrations * plan.sensors_each
        );
        make(profile, plan, binary, &kept)?;
    }
    copy(&kept.join("data"), data_dir)?;
    let text = std::fs::read_to_string(&estate_file)?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged: remove it", estate_file.display()))
}

fn make(profile: &Profile, plan: &Plan, binary: &Path, kept: &Path) -> Result<()> {
    let parent = kept.parent().context("a fixture has a parent")?;
    let scratch = Scratch::new(parent)?;
    let data_dir = scratch.path().join("data");
    let organisations = setup::bootstrap(binary, &data_dir, plan.integrations)?;
    let mut spec = profile.server.clone();
    // Overrides are for the measurement; what is prepared must not depend on them.
    spec.config.clear();
    spec.cores = None;
    let server = Server::start(&spec, binary, &data_dir, &scratch.path().join("server.log"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let estate = runtime.block_on(setup::build(&server.endpoints, organisations, plan))?;
    drop(runtime);
    server.stop()?;
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(scratch.path().join("estate.json"))?;
    std::io::Write::write_all(&mut file, serde_json::to_string(&estate)?.as_bytes())?;
    if kept.exists() {
        std::fs::remove_dir_all(kept)?;
    }
    // The scratch directory becomes the fixture; dropping it afterwards finds nothing to remove.
    std::fs::rename(scratch.path(), kept).context("cannot keep the fixture")
}

/// What a fixture depends on: the plan's shape and the very binary that made it.
fn key(plan: &Plan, binary: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(binary).with_context(|| format!("there is no {}", binary.display()))?;
    let mut hasher = DefaultHasher::new();
    (plan.integrations, plan.sensors_each, metadata.len(), metadata.modified()?).hash(&mut hasher);
    Ok(hasher.finish())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status =
        Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status().context("cannot run cp")?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}
