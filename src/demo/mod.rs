//! `sensorgate demo`: the whole path on real greenhouse readings, with one command and no service to install.
//!
//! It is a client of its own server: everything below goes through the same sockets that a controller and an
//! administrator use. Two administrators are made, an integration is requested by one and approved by the other, the
//! shipped readings are sent over HTTP and MQTT and read back, and every stored value is compared with the file.

mod broken;
mod calls;
mod dataset;
mod files;
mod gateway;
mod history;
mod onboarding;
mod read_back;
mod summary;

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::{app::App, config::Config};

/// Where the demo stands, in words, on standard output.
#[allow(clippy::print_stdout, reason = "the demo speaks to the person who started it")]
fn say(line: &str) {
    println!("{line}");
}

/// A newcomer's first command should not fail for a port that something else uses: where none was named, a free one
/// is taken then. `named` is which of the addresses of HTTP, MQTT and the administrators' API were.
pub(crate) fn avoid_taken_ports(config: &mut Config, named: [bool; 3]) {
    let addresses = [Some(&mut config.http.address), config.mqtt.address.as_mut(), Some(&mut config.admin.address)];
    for (is_named, address) in named.into_iter().zip(addresses) {
        if let Some(address) = address
            && !is_named
            && std::net::TcpListener::bind(*address).is_err()
        {
            address.set_port(0);
        }
    }
}

/// Runs the demo on a fresh data directory. Ends after the summary when `once`, otherwise serves until a signal.
///
/// # Errors
/// When a step fails, or a reading that was stored does not read back as it stands in the file.
pub(crate) async fn run(mut config: Config, once: bool) -> Result<()> {
    let kept = files::prepare_data_dir(&mut config)?;
    let started = Instant::now();
    say("sensorgate demo: two administrators, one integration, real greenhouse readings.");
    say(&format!("Everything it makes stays in {}.", config.data_dir.display()));
    let app = App::start(&config).await.context("the server did not start")?;
    let outcome = walk(&app, &config, once, started).await;
    match (&outcome, once) {
        (Ok(()), false) => {
            say("\nServing until Ctrl-C.");
            app.run_until_signal().await?;
        }
        _ => app.stop().await?,
    }
    drop(kept);
    outcome
}

async fn walk(app: &App, config: &Config, once: bool, started: Instant) -> Result<()> {
    let onboarded = onboarding::run(app, &config.data_dir).await?;
    let rows = dataset::load(jiff::Timestamp::now().as_second())?;
    let partial = broken::post(&onboarded).await?;
    let sent = history::send(&onboarded, &rows).await?;
    let compared = read_back::compare(&onboarded, &rows).await?;
    files::write(&config.data_dir, &onboarded)?;
    summary::print(&partial, &sent, &compared, started.elapsed());
    if !once {
        summary::print_lines_to_paste(&config.data_dir, &onboarded);
    }
    compared.verdict()
}

/// A private file of the demo: mode 0600, complete once it exists.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};
    let draft = path.with_extension("draft");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}
