//! The broker Mosquitto and its clients, where `cargo xtask test` or the machine's owner put them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where `xtask/src/mosquitto.rs` unpacks them.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/xtask/mosquitto");

/// A command that runs `mosquitto`, `mosquitto_pub` or `mosquitto_sub`. Where it is not to be had, the test is to end
/// there: that is said once, and is a failure where `CI=true`.
pub fn command(program: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|folder| folder.join(program));
    if let Some(found) = on_path.into_iter().find(|found| found.is_file()) {
        return Some(Command::new(found));
    }
    let unpacked = ["usr/sbin", "usr/bin"].map(|folder| Path::new(UNPACKED).join(folder).join(program));
    if let Some(found) = unpacked.into_iter().find(|found| found.is_file()) {
        let mut command = Command::new(found);
        command.env("LD_LIBRARY_PATH", env::join_paths(library_folders()).expect("paths without a colon"));
        return Some(command);
    }
    super::skip(&format!("{program} is not installed; cargo xtask test fetches it"));
    None
}

/// `usr/lib` and `lib` of the unpacked packages, with the folder of the architecture below.
fn library_folders() -> Vec<PathBuf> {
    let bases = ["usr/lib", "lib"].map(|folder| Path::new(UNPACKED).join(folder));
    let below = |base: &PathBuf| fs::read_dir(base).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    bases.iter().flat_map(|base| below(base).chain([base.clone()])).filter(|path| path.is_dir()).collect()
}
