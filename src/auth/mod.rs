//! Who is calling, and may they: two credentials in, a [`Principal`] out.
//!
//! Both edges ask the same [`Authenticator`]. It reads memory only: the [`Registry`] of integrations, which
//! [`sync`] keeps in step with the control plane, and the keys of the token issuers. The order of its checks is
//! `api.md` §3: token, key, status, binding, address, window and quota, scope.

pub mod jwks;
pub mod jwt;

mod allowlist;
mod authenticator;
mod client_addr;
mod config;
mod principal;

mod credential;
mod denial;
mod equipment_index;
mod failures;
mod gate;
mod integration;
mod quota;
mod rate;
mod registry;
mod session;
pub mod sync;
mod window;

pub use authenticator::{Authenticator, Call};
pub use client_addr::ClientAddr;
pub use principal::{Pass, Principal};

pub use config::Config;
pub use credential::Credential;
pub use denial::{Cause, Denial};
pub use equipment_index::{EquipmentEntry, EquipmentIndex};
pub use gate::{GateClosed, GatePermit};
pub use integration::Integration;
pub use rate::RateState;
pub use registry::Registry;
pub use session::{NotOpened, Session, SessionEnd, SessionRequest};
