//! What both JSON APIs share: how a call is read and how it is answered, apart from what it is about.
//!
//! Bodies and parameters that are refused where anything in them is unknown, ids in paths, versions as entity tags,
//! pages, times, problems, and the one form of a piece of equipment. Who calls, and what they may, is each API's own.

pub(crate) mod body;
pub(crate) mod equipment;
pub(crate) mod equipment_bulk;
pub(crate) mod etag;
pub(crate) mod last_values;
pub(crate) mod openapi;
pub(crate) mod openapi_webhook;
pub(crate) mod page;
pub(crate) mod parameters;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod store;
pub(crate) mod taxonomy;
pub(crate) mod time;
pub(crate) mod webhook;

use std::{sync::Arc, time::Duration};

use crate::{model::MetricTable, store::Store};

/// What reading and answering a call takes of the API that it came to.
pub(crate) trait Api: Clone + Send + Sync + 'static {
    /// Bytes of a body, at most.
    fn body_bytes_max(&self) -> usize;
    /// How long a body may take.
    fn body_timeout(&self) -> Duration;
    /// Where readings are.
    fn store(&self) -> &Arc<dyn Store>;
    /// What may be measured.
    fn metrics(&self) -> &MetricTable;
}
