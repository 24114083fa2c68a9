//! Files that commands read and write; `-` is standard input or output.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::{
    client::Call,
    context::Context,
    error::{Error, Result},
};

/// Where a download goes.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Write to this file, which must not exist yet, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

/// All of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let is_stdin = path.as_os_str() == "-";
    let read = if is_stdin { io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes) } else { fs::read(path) };
    read.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })
}

/// The JSON in a file.
///
/// # Errors
/// When it cannot be read, or is no JSON.
pub(super) fn json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| Error::usage(format!("{} is not JSON: {error}", path.display())))
}

impl Target {
    /// Fetches what `call` answers, piece by piece.
    ///
    /// # Errors
    /// When the service refuses, or the file cannot be written. A file that broke off is removed.
    pub(super) async fn fetch(&self, cx: &Context, call: Call<'_>) -> Result {
        let Some(path) = self.file.as_deref().filter(|path| path.as_os_str() != "-") else {
            return call.download(&mut io::stdout()).await.map(|_| ());
        };
        let failed = |source| Error::File { what: "write", path: path.to_owned(), source };
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let fetched = call.download(&mut file).await;
        if fetched.is_err() {
            fs::remove_file(path).map_err(failed)?;
        }
        let bytes = fetched?;
        file.flush().map_err(failed)?;
        cx.out.note(&format!("{bytes} bytes are in {}.", path.display()));
        Ok(())
    }
}
