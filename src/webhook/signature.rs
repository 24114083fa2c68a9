//! Signatures: Standard Webhooks 1.0, and the two headers that the product's public help names (A45).

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign as hmac};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{control::WebhookSecret, model::EventId};

/// The signatures of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// For `webhook-signature`: `v1,` and base64, over `id.timestamp.body`, keyed with the secret's 32 bytes.
    pub standard: String,
    /// For `X-Webhook-Signature`: `sha256=` and hexadecimal, over `timestamp.body`, keyed with the secret's text as it
    /// was shown.
    pub plain: String,
}

/// Signs `body` as sent at `timestamp_s` (Unix).
#[must_use]
pub fn sign(secret: &WebhookSecret, event_id: EventId, timestamp_s: i64, body: &str) -> Signature {
    let standard = Key::new(HMAC_SHA256, secret.bytes());
    let standard = hmac(&standard, format!("{event_id}.{timestamp_s}.{body}").as_bytes());
    let plain = Key::new(HMAC_SHA256, secret.expose().as_bytes());
    let plain = hmac(&plain, format!("{timestamp_s}.{body}").as_bytes());
    Signature { standard: format!("v1,{}", STANDARD.encode(standard)), plain: format!("sha256={}", hex::encode(plain)) }
}
