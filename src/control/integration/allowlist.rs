//! The networks that an integration may call from, as administrators write them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Allowlist, Integration, lifecycle};
use crate::{
    control::{
        Actor, Control, Error, FieldError,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
    },
    model::{IntegrationId, integration::ALLOWLIST_ENTRIES_MAX},
};

/// Entries looked at before duplicates are merged; more are refused unread.
const ENTRIES_READ_MAX: usize = 1_000;

/// The list as it is to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowlistUpdate {
    /// Off: any address may call.
    pub enabled: bool,
    /// CIDR notation; none: the entries stay as they are.
    pub entries: Option<Vec<String>>,
}

impl Control {
    /// Sets the allowlist of the integration `id`. It holds from the next request (S245). What changes nothing leaves
    /// version and audit log as they are.
    pub async fn set_allowlist(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        update: AllowlistUpdate,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_ip_allowlist_update_refused", Target::Integration(id));
                let before = lifecycle::editable(tx, &actor, id, "ip-allowlist")?;
                let wanted = accept(update, &before.allowlist)?;
                lifecycle::check_version(&before, if_match)?;
                if wanted == before.allowlist {
                    return Ok((before, vec![]));
                }
                store(tx, &before, &wanted)?;
                let entry = AuditEntry::by(&actor, "integration_ip_allowlist_update", Target::Integration(id));
                let (was, is) = (Some(told(&before.allowlist)), Some(told(&wanted)));
                audit::append(tx, AuditEntry { before: was, after: is, ..entry })?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }
}

fn accept(update: AllowlistUpdate, before: &Allowlist) -> Result<Allowlist, Error> {
    let entries = match update.entries {
        None => before.entries.clone(),
        Some(texts) => parse_all(&texts)?,
    };
    if update.enabled && entries.is_empty() {
        // Neither "nobody may call" nor "anybody may" is likely meant (A30).
        let message = "an enabled allowlist needs at least one entry; to let every address in, set enabled to false";
        return Err(Error::Invalid(vec![FieldError::new("entries", message)]));
    }
    Ok(Allowlist { enabled: update.enabled, entries })
}

/// The networks of `texts`, normalised, each once, in the order given.
fn parse_all(texts: &[String]) -> Result<Vec<IpNet>, Error> {
    let mut errors = Vec::new();
    let mut entries: Vec<IpNet> = Vec::new();
    for (index, text) in texts.iter().take(ENTRIES_READ_MAX).enumerate() {
        match parse(text) {
            Ok(net) if entries.contains(&net) => {}
            Ok(net) => entries.push(net),
            Err(message) => {
                let message = format!("entries[{index}] {}: {message}", text::quote(text));
                errors.push(FieldError::new("entries", message));
            }
        }
    }
    if entries.len() > ALLOWLIST_ENTRIES_MAX || texts.len() > ENTRIES_READ_MAX {
        errors.push(FieldError::new("entries", format!("at most {ALLOWLIST_ENTRIES_MAX} entries")));
    }
    Error::of_fields(errors)?;
    Ok(entries)
}

/// One network in CIDR notation. Host bits are cut off, and IPv4 written inside IPv6 becomes IPv4, as callers'
/// addresses do before they are compared (S248).
fn parse(text: &str) -> Result<IpNet, String> {
    // The standard library refuses 010.0.0.1, which some read as octal; so the address goes through it, not through
    // the network's own parser.
    let Some((address, length)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(address) => {
                let length = if address.is_ipv4() { 32 } else { 128 };
                format!("not in CIDR notation: did you mean {address}/{length}?")
            }
            Err(_) => "not in CIDR notation, as 192.168.1.0/24 is".to_owned(),
        });
    };
    let address: IpAddr = address.parse().map_err(|_| "the part before the slash is not an IP address".to_owned())?;
    let is_number = !length.is_empty() && length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = Some(length)
        .filter(|_| is_number)
        .and_then(|length| length.parse().ok())
        .filter(|length| *length <= longest)
        .ok_or_else(|| format!("the part after the slash must be a number from 0 to {longest}"))?;
    let (address, length) = match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) if length >= 96 => (IpAddr::V4(v4), length - 96),
            Some(v4) => return Err(format!("write IPv4 networks as IPv4: {v4}/…")),
            None => (address, length),
        },
        IpAddr::V4(_) => (address, length),
    };
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| "not a network".to_owned())
}

fn store(tx: &Tx<'_>, before: &Integration, wanted: &Allowlist) -> Result<(), Error> {
    let entries = serde_json::to_string(&wanted.entries).expect("networks serialise as strings");
    let changed = tx
        .prepare_cached(
            "UPDATE integrations SET version = version + 1, updated_at_us = ?1, allowlist_enabled = ?2, allowlist = ?3
             WHERE id = ?4 AND organisation_id = ?5 AND version = ?6 AND status <> 'revoked'",
        )?
        .execute((tx.now_us, wanted.enabled, entries, before.id, before.organisation_id, before.version))?;
    lifecycle::expect_changed(tx, before, changed)
}

fn told(allowlist: &Allowlist) -> Value {
    json!({ "enabled": allowlist.enabled, "entries": allowlist.entries })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // S240–S242, S248, A29
    #[test]
    fn entries_are_normalised_or_refused_with_a_reason() {
        for (text, expected) in [
            ("10.0.0.1/32", Ok("10.0.0.1/32")),
            ("10.0.0.5/24", Ok("10.0.0.0/24")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:DB8::1/64", Ok("2001:db8::/64")),
            ("::ffff:10.0.0.1/128", Ok("10.0.0.1/32")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::/0", Ok("::/0")),
            ("10.0.0.1", Err("did you mean 10.0.0.1/32?")),
            ("2001:db8::1", Err("did you mean 2001:db8::1/128?")),
            ("010.0.0.1/32", Err("not an IP address")),
            ("10.0.0.0/33", Err("0 to 32")),
            ("10.0.0.0/+8", Err("0 to 32")),
            ("10.0.0.0/8/8", Err("0 to 32")),
            ("10.0.0.0/255.0.0.0", Err("0 to 32")),
            ("10.0.0.0/", Err("0 to 32")),
            ("::1/129", Err("0 to 128")),
            ("::ffff:10.0.0.0/8", Err("as IPv4")),
            ("fe80::1%eth0/64", Err("not an IP address")),
            ("10.0.0.1-10.0.0.9", Err("CIDR")),
            ("gateway.example/32", Err("not an IP address")),
            (" 10.0.0.0/8", Err("not an IP address")),
            ("", Err("CIDR")),
        ] {
            match (parse(text), expected) {
                (Ok(net), Ok(expected)) => assert_eq!(net.to_string(), expected, "{text}"),
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{text}: {message}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    // S243, S249
    #[test]
    fn duplicates_count_once_and_the_51st_is_refused() {
        let texts = |count: usize| -> Vec<String> { (0..count).map(|i| format!("10.0.0.{i}/32")).collect() };
        let mut doubled = texts(50);
        doubled.extend(texts(50));
        assert_eq!(parse_all(&doubled).unwrap().len(), 50);
        assert!(parse_all(&texts(51)).is_err());
        assert!(parse_all(&vec!["10.0.0.0/8".to_owned(); 1_001]).is_err());
    }

    proptest! {
        // S248: what is echoed means the same when it is sent back.
        #[test]
        fn a_normalised_entry_is_its_own_normal_form(text in "[0-9a-f:./]{0,24}") {
            if let Ok(net) = parse(&text) {
                prop_assert_eq!(parse(&net.to_string()), Ok(net));
            }
        }
    }
}
