//! What the three rate headers say.

/// The state of a limit, as `X-RateLimit-Limit`, `-Remaining` and `-Reset` show it (001:36–44).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// Requests allowed in the window.
    pub limit: u32,
    /// Requests left in it.
    pub remaining: u32,
    /// When it ends: whole Unix seconds, never early (S221, S222).
    pub reset_s: u64,
}
