//! The partner's people (A37). Personal data: it stays out of logs and out of the audit log.

use serde::{Deserialize, Serialize};

use crate::control::{FieldError, text};

/// Contacts of one integration, at most.
pub const CONTACTS_MAX: usize = 20;

/// Somebody at the partner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Their name, 1 … 200 characters.
    pub name: String,
    /// Their e-mail address, at most 254 characters.
    pub email: String,
    /// Where they work, at most 200 characters.
    pub company: Option<String>,
    /// When somebody last made sure, in microseconds (Unix).
    pub confirmed_at_us: Option<i64>,
}

/// Says what is wrong with `contacts`.
pub(super) fn check(contacts: &[Contact], errors: &mut Vec<FieldError>) {
    if contacts.len() > CONTACTS_MAX {
        errors.push(FieldError::new("contacts", format!("at most {CONTACTS_MAX} contacts")));
        return;
    }
    for (index, contact) in contacts.iter().enumerate() {
        text::check_line(&format!("contacts[{index}].name"), &contact.name, 200, errors);
        let email = &contact.email;
        let looks_right = email.len() <= 254
            && email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            && !email.chars().any(|c| c.is_whitespace() || c.is_control());
        if !looks_right {
            errors.push(FieldError::new(format!("contacts[{index}].email"), "not an e-mail address"));
        }
        if let Some(company) = &contact.company {
            text::check_line(&format!("contacts[{index}].company"), company, 200, errors);
        }
    }
}
