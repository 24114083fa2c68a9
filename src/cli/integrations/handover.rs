//! The sheet for the partner, as the service writes it.

use std::io;

use clap::Args;

use super::path;
use crate::cli::{context::Context, error::Result, find};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    #[arg(long, default_value = "text", value_parser = ["json", "html", "text"])]
    format: String,
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    let found = find::integration(cx, &arguments.integration).await?;
    let call = cx.client.get(path(&found, "/handover")).query("format", Some(&arguments.format));
    call.download(&mut io::stdout()).await?;
    Ok(())
}
