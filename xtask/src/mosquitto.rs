//! The MQTT broker Mosquitto with `mosquitto_pub` and `mosquitto_sub`, from the Debian packages of this machine's own
//! sources. They are unpacked below `target`: no service is installed or started, and nobody has to be root.

use std::{fs, path::Path, process::Command};

use crate::{
    packages::{has, succeed},
    steps::{root, say},
};

/// The packages that are asked for; what they need besides comes along.
const PACKAGES: [&str; 2] = ["mosquitto", "mosquitto-clients"];

/// Makes sure that the programs are there: installed on this machine, unpacked before, or unpacked now. Where the
/// tests look for them is `tests/it/support/mosquitto.rs`.
pub(crate) fn fetch() -> Result<(), String> {
    let folder = root().join("target/xtask/mosquitto");
    let installed = ["usr/bin", "usr/sbin"].map(|sub| Path::new("/").join(sub));
    let unpacked = ["usr/bin", "usr/sbin"].map(|sub| folder.join(sub));
    let is_there = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(installed.iter().cloned())
            .chain(unpacked.iter().cloned())
            .any(|place| place.join(program).is_file())
    };
    if is_there("mosquitto") && is_there("mosquitto_pub") {
        return Ok(());
    }
    if !has("apt-get") {
        return Err("not installed, and there is no apt-get to fetch them with".to_owned());
    }
    say("Fetching the Debian packages of mosquitto …");
    let names = needed().or_else(|_stale| {
        // Lists of packages that are absent or old; only root may fetch new ones.
        succeed(Command::new("apt-get").args(["update", "-qq"]))?;
        needed()
    })?;
    unpack(&names, &folder)?;
    if is_there("mosquitto") { Ok(()) } else { Err("the packages hold no program of that name".to_owned()) }
}

/// The packages that this machine lacks, as apt would install them.
fn needed() -> Result<Vec<String>, String> {
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--simulate", "--no-install-recommends", "-qq"]).args(PACKAGES);
    let output = apt.output().map_err(|error| format!("{apt:?} did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{apt:?} ended with {}", output.status));
    }
    let plan = String::from_utf8_lossy(&output.stdout);
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

fn unpack(names: &[String], folder: &Path) -> Result<(), String> {
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).map_err(|error| error.to_string())?;
    succeed(Command::new("apt-get").args(["download", "-qq"]).args(names).current_dir(&archives))?;
    for entry in fs::read_dir(&archives).map_err(|error| error.to_string())?.filter_map(Result::ok) {
        succeed(Command::new("dpkg").arg("-x").arg(entry.path()).arg(folder))?;
    }
    fs::remove_dir_all(&archives).map_err(|error| error.to_string())
}
