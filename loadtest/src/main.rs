//! The load generator's command line.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use loadtest::floor::{self, Floor};
use loadtest::profile::{Profile, shipped_dir};
use loadtest::report::Report;
use loadtest::rounds;
use loadtest::run::{Site, default_server_binary, default_work_dir};

#[derive(Debug, Parser)]
#[command(about = "Black-box load for sensorgate, with a ledger of everything acked", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one profile: a name from `list`, or a TOML file.
    Run {
        profile: String,
        #[command(flatten)]
        options: Options,
    },
    /// Run several profiles, interleaved round by round.
    Compare {
        #[arg(required = true)]
        profiles: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Run everything that is shipped, interleaved, and judge the goals.
    All {
        #[command(flatten)]
        options: Options,
    },
    /// List the shipped profiles.
    List,
    /// Serve a floor to compare with, until killed.
    Floor {
        floor: Floor,
        #[arg(long, default_value = "127.0.0.1:0")]
        http: SocketAddr,
        /// Written once it listens: {"http_url": …}.
        #[arg(long)]
        ready_file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// sensorgate's binary; default: beside this one.
    #[arg(long)]
    server_bin: Option<PathBuf>,
    /// demo.json of a running server, to be used instead of starting one.
    #[arg(long)]
    target: Option<PathBuf>,
    /// Where report.json, report.html and main.svg go.
    #[arg(long, default_value = "target/loadtest")]
    out: PathBuf,
    /// Where data directories and prepared fixtures go; default: in the temporary directory.
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// How often everything is run.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Length of the measured window in seconds, in place of the profiles' own.
    #[arg(long)]
    duration_s: Option<f64>,
}

fn main() -> ExitCode {
    match work(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn work(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run { profile, options } => compare(&[profile], &options),
        Command::Compare { profiles, options } => compare(&profiles, &options),
        Command::All { options } => {
            let names: Vec<String> = rounds::ALL.iter().map(|name| (*name).to_owned()).collect();
            compare(&names, &options)
        }
        Command::List => {
            let mut names: Vec<String> = std::fs::read_dir(shipped_dir())?
                .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
                .collect();
            names.sort();
            for name in names {
                say(&format!("{name:<18} {}", Profile::load(&name)?.description))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Floor { floor, http, ready_file } => {
            floor::serve(floor, http, ready_file.as_deref())?;
            bail!("a floor only ends by being killed")
        }
    }
}

/// 0: all promises kept; 1: something was lost, doubled or wrong, or a run failed.
fn compare(names: &[String], options: &Options) -> Result<ExitCode> {
    let mut profiles = rounds::load(names)?;
    for profile in &mut profiles {
        profile.duration_s = options.duration_s.unwrap_or(profile.duration_s);
    }
    let own_binary = std::env::current_exe().context("cannot tell where this program is")?;
    let work_dir = options.work_dir.clone().unwrap_or_else(default_work_dir);
    std::fs::create_dir_all(&work_dir).with_context(|| format!("cannot make {}", work_dir.display()))?;
    let site = Site {
        server_binary: options.server_bin.clone().unwrap_or_else(|| default_server_binary(&own_binary)),
        own_binary,
        work_dir,
        target: options.target.clone(),
    };
    let report: Report = rounds::interleave(profiles, options.rounds, &site, &rounds::shipped_goals()?, &options.out)?;
    say(&report.summary())?;
    say(&format!("\nreport: {}", options.out.join("report.html").display()))?;
    Ok(if report.promises_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to the terminal")
}
