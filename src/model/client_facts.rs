//! The token's side of an integration: which OAuth client belongs to it.

use serde::{Deserialize, Serialize};

/// An OAuth client as a token names it. A client id is unique only within its issuer, so both parts are the key
/// (`research/security.md` §1.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientKey {
    /// The `iss` claim, byte for byte.
    pub issuer: String,
    /// `azp` or `client_id`, by the token's profile.
    pub client_id: String,
}
