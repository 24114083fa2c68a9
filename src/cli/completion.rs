//! `sensorgate completion …` and `man`: made from the same description of the commands as `--help`.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::error::Result;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(sensorgate completion bash)
  sensorgate completion zsh > ~/.zfunc/_sensorgate
  sensorgate completion fish > ~/.config/fish/completions/sensorgate.fish")]
pub(crate) struct Completion {
    /// Which shell.
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sensorgate man | man -l -
  sensorgate man --dir ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Write a page for each command into this folder, instead of the first one to standard output.
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
}

pub(super) fn completion(mut command: Command, completion: &Completion) -> Result {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut command, name, &mut script);
    Ok(io::stdout().write_all(&script)?)
}

pub(super) fn man(command: Command, man: &Man) -> Result {
    if let Some(dir) = &man.dir {
        return Ok(clap_mangen::generate_to(command, dir)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(io::stdout().write_all(&page)?)
}
