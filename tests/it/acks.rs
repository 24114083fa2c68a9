//! What an ack means: never without the sync, and a refusal is honest about what can be retried.
