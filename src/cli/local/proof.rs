//! `sensorgate audit verify` for somebody who does not take the service's word for it: on the server's data directory,
//! on an exported file, or on what the service gives out now, held against checkpoints that were put aside.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        client::Answer,
        error::{Error, Result},
        options::Options,
        output::Printer,
        table::Card,
    },
    control::audit::proof::{self, Evidence, Proof, ProofError},
};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// On the server: prove the logs in this data directory, also while the service runs on it.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    data_dir: Option<PathBuf>,
    /// Prove an exported log (NDJSON) without any service.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Checkpoints that were put aside: the log has to meet each of them.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// The key that must have signed the checkpoints, hexadecimal.
    #[arg(long, value_name = "HEX")]
    public_key: Option<String>,
    /// The exported file ends before the log does: checkpoints behind its end say nothing.
    #[arg(long, requires = "file")]
    part: bool,
}

impl Verify {
    /// Whether the service is only asked for its own verdict.
    pub(in crate::cli) fn is_by_the_service(&self) -> bool {
        !self.is_local() && self.checkpoints.is_none() && self.public_key.is_none()
    }

    /// Whether no service is needed.
    pub(in crate::cli) fn is_local(&self) -> bool {
        self.data_dir.is_some() || self.file.is_some()
    }

    fn evidence(&self) -> Result<Evidence> {
        Evidence::read(self.checkpoints.as_deref(), self.public_key.clone(), self.part).map_err(failed)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: ProofError) -> Error {
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    Error::usage(causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}")))
}

/// Proves what lies on this machine.
pub(in crate::cli) fn local(arguments: &Verify, options: &Options) -> Result {
    let evidence = arguments.evidence()?;
    let proofs = match (&arguments.data_dir, &arguments.file) {
        (Some(data_dir), _) => proof::of_data_dir(data_dir, &evidence).map_err(failed)?,
        (None, Some(file)) => vec![proof::of_export(file, &evidence).map_err(failed)?],
        (None, None) => return Err(Error::usage("give --data-dir or --file")),
    };
    show(&Printer::new(options, true), &proofs)
}

/// Proves what the service at `url` has just given out.
pub(in crate::cli) fn downloaded(url: &str, export: &[u8], arguments: &Verify, out: &Printer) -> Result {
    let proof = proof::of_lines(Path::new(url), export, &arguments.evidence()?).map_err(failed)?;
    show(out, &[proof])
}

fn show(out: &Printer, proofs: &[Proof]) -> Result {
    let mut is_whole = true;
    for proof in proofs {
        is_whole &= proof.fault.is_none();
        let json = json!({
            "organisation_id": proof.organisation_id,
            "ok": proof.fault.is_none(),
            "first_seq": proof.first_seq,
            "entries": proof.entries,
            "checkpoints_met": proof.heads_met,
            "public_keys": proof.public_keys,
            "fault": proof.fault.map(|fault| fault.as_str()),
            "first_bad_seq": proof.first_bad_seq,
        });
        out.one(&Answer { etag: None, text: json.to_string(), json }, card)?;
    }
    if is_whole { Ok(()) } else { Err(Error::Negative("The audit log is not what was written.".to_owned())) }
}

fn card(proof: &Value) -> Card {
    let mut card = Card::default();
    card.line("Organisation", &proof["organisation_id"]).line("Whole", &proof["ok"]).line("Entries", &proof["entries"]);
    if proof["first_seq"] != 1 {
        card.say("Begins at", format!("entry {}: what stands before it is not proved", proof["first_seq"]));
    }
    card.line("Signed heads met", &proof["checkpoints_met"]).line("Signed by", &proof["public_keys"]);
    card.some("Fault", &proof["fault"]).some("First bad entry", &proof["first_bad_seq"]);
    card
}
