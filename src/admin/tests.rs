//! The API over a real socket, with a real control plane.

mod any_input;
mod api;
mod document;
mod equipment;
mod integrations;
mod memory_store;
mod readings;
mod rules;
mod sessions;
mod users;
