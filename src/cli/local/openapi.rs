//! `sensorgate openapi`

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which API.
    #[arg(long, value_enum, default_value_t = Api::Integration)]
    api: Api,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Api {
    /// What integrations call.
    Integration,
    /// What administrators call.
    Admin,
}

/// The document, as the API's port serves it at `/openapi.json`.
pub(super) fn document(arguments: &Arguments) -> String {
    match arguments.api {
        Api::Integration => crate::app::openapi_json(),
        Api::Admin => crate::app::admin_openapi_json(),
    }
}
