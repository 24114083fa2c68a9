//! The bridge at the broker's side, with stand-ins for auth and ingest behind it.

use super::Config;

pub(super) fn config() -> Config {
    let file: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    file["bridge"].clone().try_into().unwrap()
}
