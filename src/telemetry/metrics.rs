//! The name of every metric, with its meaning. Labels come from closed sets only: never an id, an address or a key.

macro_rules! metrics {
    ($($kind:ident $name:ident = $text:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $name: &str = $text;)*

        /// Every metric: kind, name, meaning. `docs/operations.md` is checked against it.
        pub const ALL: &[(&str, &str, &str)] = &[$((stringify!($kind), $text, $help),)*];

        /// Tells the exporter what each metric means. Once, after the recorder is installed.
        pub fn describe() {
            $(metrics!(@describe $kind $text, $help);)*
        }
    };
    (@describe counter $text:literal, $help:literal) => { ::metrics::describe_counter!($text, $help) };
    (@describe gauge $text:literal, $help:literal) => { ::metrics::describe_gauge!($text, $help) };
    (@describe histogram $text:literal, $help:literal) => { ::metrics::describe_histogram!($text, $help) };
}

metrics! {
    counter SUBMISSIONS_TOTAL = "sensorgate_ingest_submissions_total", "Submissions by transport (http, mqtt) and outcome code (ok, partial, rejected, or the problem code).";
    counter INGEST_READINGS_ACCEPTED_TOTAL = "sensorgate_ingest_readings_accepted_total", "Readings that are durable in the spool, by transport; duplicates included.";
    counter INGEST_READINGS_DUPLICATE_TOTAL = "sensorgate_ingest_readings_duplicate_total", "Accepted readings whose equipment, metric and timestamp had been accepted before, as far as known at once.";
    counter INGEST_READINGS_REJECTED_TOTAL = "sensorgate_ingest_readings_rejected_total", "Readings refused, by entry code.";
    counter INGEST_BODY_BYTES_TOTAL = "sensorgate_ingest_body_bytes_total", "Bytes of the bodies submitted, inflated, by transport.";
    counter INGEST_PARSE_TOTAL = "sensorgate_ingest_parse_total", "Bodies by the reader that judged them: scanner, simd_json, serde_json.";
    gauge INGEST_IN_FLIGHT_BYTES = "sensorgate_ingest_in_flight_bytes", "Bytes of batches in memory, taken from ingest.in_flight_bytes_max.";
    gauge LISTENER_CONNECTIONS_OPEN = "sensorgate_listener_connections_open", "Connections open now, by port.";
    gauge LISTENER_CONNECTIONS_PARKED = "sensorgate_listener_connections_parked", "Open HTTP/1.1 connections that stand idle without buffers, by port.";
    counter LISTENER_CONNECTIONS_TOTAL = "sensorgate_listener_connections_total", "Connections let in, by port.";
    counter LISTENER_CONNECTIONS_REFUSED_TOTAL = "sensorgate_listener_connections_refused_total", "Connections ended before they were served, by port and reason (connections_max, address_max, proxy_untrusted, proxy_header, handshake, handshake_timeout, silent).";
    counter LISTENER_ACCEPT_ERRORS_TOTAL = "sensorgate_listener_accept_errors_total", "Times the kernel could not hand over a connection (mostly: too many open files), by port.";
    gauge LISTENER_REQUESTS_IN_FLIGHT = "sensorgate_listener_requests_in_flight", "Requests being worked on now, by port.";
    counter LISTENER_CERTIFICATE_RELOADS_TOTAL = "sensorgate_listener_certificate_reloads_total", "Changed certificate files, by result (ok: in use; failed: the old ones stay in use).";
    counter AUTH_TOKENS_TOTAL = "sensorgate_auth_tokens_total", "Tokens by outcome: cached, verified, or the cause of the refusal.";
    counter AUTH_KEY_FETCHES_TOTAL = "sensorgate_auth_key_fetches_total", "Fetches of token issuers' keys by outcome (ok, failed).";
    counter AUTH_SESSIONS_CUT_TOTAL = "sensorgate_auth_sessions_cut_total", "Live sessions ended because an administrator's change shut them out.";
    histogram AUTH_SESSIONS_CUT_SECONDS = "sensorgate_auth_sessions_cut_seconds", "Time from an administrator's change until the last session that it shut out was closed.";
    counter ISSUER_TOKEN_REQUESTS_TOTAL = "sensorgate_issuer_token_requests_total", "Requests for tokens by outcome: issued, or the OAuth error code.";
    counter CONTROL_AUDIT_HEAD_FAILURES_TOTAL = "sensorgate_control_audit_head_failures_total", "Times the signed head of an audit log was not moved, by reason (altered: the log no longer meets it; write: the disk refused).";
    gauge CONTROL_BREAK_GLASS_PERMISSIONS = "sensorgate_control_break_glass_permissions", "Administrators' permissions in force that were confirmed by `sensorgate break-glass` and by no second holder since. Must be 0.";
    gauge SPOOL_BYTES = "sensorgate_spool_bytes", "Bytes in the spool's segments, delivered ones that are not dropped yet included.";
    gauge SPOOL_BACKLOG_RECORDS = "sensorgate_spool_backlog_records", "Batches that the spool still keeps: the store has not written them down for good.";
    gauge SPOOL_FREE_DISK_BYTES = "sensorgate_spool_free_disk_bytes", "Free bytes in the spool's file system.";
    counter SPOOL_APPENDED_RECORDS_TOTAL = "sensorgate_spool_appended_records_total", "Batches made durable.";
    counter SPOOL_APPENDED_BYTES_TOTAL = "sensorgate_spool_appended_bytes_total", "Bytes of the batches made durable.";
    histogram SPOOL_GROUP_RECORDS = "sensorgate_spool_group_records", "Batches made durable by one sync.";
    histogram SPOOL_SYNC_SECONDS = "sensorgate_spool_sync_seconds", "How long a sync to disk took.";
    gauge SPOOL_POISONED = "sensorgate_spool_poisoned", "1 when a write or sync failed and nothing more is taken until a restart.";
    counter SPOOL_DAMAGES_TOTAL = "sensorgate_spool_damages_total", "Damaged stretches found in segments since the start.";
    gauge SPOOL_CORRUPT_FILES = "sensorgate_spool_corrupt_files", "Copies of damaged segments that nobody has taken out of the directory `corrupt` yet.";
    counter SPOOL_DISK_READ_BYTES_TOTAL = "sensorgate_spool_disk_read_bytes_total", "Bytes read back from segments because delivery had fallen behind what is kept in memory.";
    counter STORE_READINGS_TOTAL = "sensorgate_store_readings_total", "Readings written to the embedded store's file; of one key sent twice within a group only the last counts.";
    counter STORE_CLOSED_READINGS_TOTAL = "sensorgate_store_closed_readings_total", "Readings re-encoded when their day was closed.";
    counter STORE_DAMAGED_CHUNKS_TOTAL = "sensorgate_store_damaged_chunks_total", "Chunks of the embedded store found damaged and set aside in its table damaged_chunk. Must stay 0.";
    histogram STORE_COMMIT_SECONDS = "sensorgate_store_commit_seconds", "Time to merge one group into the embedded store and have it on disk.";
    gauge STORE_HELD_READINGS = "sensorgate_store_held_readings", "Readings that the embedded store holds in memory for now; the spool still has them.";
    gauge STORE_LOG_BYTES = "sensorgate_store_log_bytes", "Length of the embedded store's write-ahead log.";
    gauge DELIVERY_BACKLOG_SECONDS = "sensorgate_delivery_backlog_seconds", "Age of the oldest batch that is not yet in the store.";
    counter DELIVERY_READINGS_TOTAL = "sensorgate_delivery_readings_total", "Readings written to the store.";
    counter DELIVERY_GROUPS_TOTAL = "sensorgate_delivery_groups_total", "Groups written to the store.";
    histogram DELIVERY_WRITE_SECONDS = "sensorgate_delivery_write_seconds", "How long the store took for a group.";
    counter DELIVERY_RETRIES_TOTAL = "sensorgate_delivery_retries_total", "Writes that the store could not take for now, and that were tried again.";
    counter DELIVERY_QUARANTINED_TOTAL = "sensorgate_delivery_quarantined_total", "Readings and records put into quarantine because the store refused them or they could not be decoded.";
    gauge DELIVERY_QUARANTINE_ROWS = "sensorgate_delivery_quarantine_rows", "Readings and records in quarantine.";
    counter QUARANTINE_REJECTED_TOTAL = "sensorgate_quarantine_rejected_total", "Rejected readings of integrations that keep them, by outcome: kept, or dropped because of full, too_large, queue_full, unreadable, failed.";
    gauge QUARANTINE_REJECTED_ROWS = "sensorgate_quarantine_rejected_rows", "Rejected readings that are kept.";
    counter HTTP_REQUESTS_TOTAL = "sensorgate_http_requests_total", "Requests of the integration API by route, status (499: the caller hung up first) and problem code (none where it was not refused).";
    histogram HTTP_REQUEST_SECONDS = "sensorgate_http_request_seconds", "From a request's header to its answer's, in seconds, by route.";
    counter HTTP_IDEMPOTENCY_TOTAL = "sensorgate_http_idempotency_total", "Requests with an Idempotency-Key by outcome (first, replayed, in_progress, reused).";
    gauge HTTP_IDEMPOTENCY_ENTRIES = "sensorgate_http_idempotency_entries", "Idempotency keys in memory.";
    counter HTTP_IDEMPOTENCY_UNWRITTEN_TOTAL = "sensorgate_http_idempotency_unwritten_total", "Kept answers that were not written to the file: a restart forgets them.";
    gauge MQTT_SESSIONS_OPEN = "sensorgate_mqtt_sessions_open", "MQTT sessions open now, by protocol version (3.1.1, 5).";
    counter MQTT_CONNECTS_TOTAL = "sensorgate_mqtt_connects_total", "CONNECTs by outcome: ok, the problem code, or what made it unacceptable (malformed, version, client_id, will, auth_method, packet_size).";
    counter MQTT_SESSIONS_ENDED_TOTAL = "sensorgate_mqtt_sessions_ended_total", "Ended MQTT sessions by reason (left, gone, silent, slow, taken_over, access_changed, scope_lost, token_expired, cannot_store, shutting_down, or the rule that the client broke).";
    counter MQTT_PUBLISHES_TOTAL = "sensorgate_mqtt_publishes_total", "Publishes by QoS (0, 1) and answer (success, payload_invalid, quota_exceeded, not_authorized; none: the session ended instead).";
    histogram MQTT_PUBLISH_SECONDS = "sensorgate_mqtt_publish_seconds", "From a whole PUBLISH to its answer, in seconds; waits for the rate limit and for the publishes before it included.";
    counter MQTT_PAUSES_TOTAL = "sensorgate_mqtt_pauses_total", "Times a connection was not read for a while, by cause (window: rate limit; room: bytes in memory).";
    counter MQTT_HOLDS_TOTAL = "sensorgate_mqtt_holds_total", "Times a publish could not be stored and was held to be tried again.";
    counter MQTT_RESULTS_TOTAL = "sensorgate_mqtt_results_total", "Results for subscribers by outcome: sent; slow: its queue was full; too_many: the integration's results in memory; too_large: beyond its Maximum Packet Size.";
    gauge BRIDGE_CONNECTED = "sensorgate_bridge_connected", "1 while messages are taken from the broker of cluster mode.";
    counter BRIDGE_CONNECTIONS_TOTAL = "sensorgate_bridge_connections_total", "Connections to the broker that took messages; every one after the first was a reconnect.";
    gauge BRIDGE_IN_FLIGHT = "sensorgate_bridge_in_flight", "Messages from the broker that await their acknowledgement.";
    counter BRIDGE_MESSAGES_TOTAL = "sensorgate_bridge_messages_total", "Messages from the broker by outcome: judged (answered with a result), refused (as a whole, for good), released (not acknowledged: the broker sends it again), dropped (the same with QoS 0: lost).";
    counter BRIDGE_REFUSALS_TOTAL = "sensorgate_bridge_refusals_total", "Messages from the broker that were refused, by exact cause.";
    counter BRIDGE_RESENT_TOTAL = "sensorgate_bridge_resent_total", "Messages that the broker had sent to this session before.";
    histogram BRIDGE_ACK_SECONDS = "sensorgate_bridge_ack_seconds", "From a message's arrival to its acknowledgement.";
    counter BRIDGE_RESULTS_TOTAL = "sensorgate_bridge_results_total", "Results for senders behind the broker: sent, or dropped (too many waiting, or the connection was lost).";
    counter REQUEST_LOG_ENTRIES_TOTAL = "sensorgate_request_log_entries_total", "Entries written to the API log: one for each request, one more for each stored batch.";
    counter REQUEST_LOG_DROPPED_TOTAL = "sensorgate_request_log_dropped_total", "Entries that are not in the API log, by reason (queue_full: the writer or its disk is behind; unattributed: more requests of nobody in particular in a minute than are kept; unreadable: a fault of ours).";
    counter REQUEST_LOG_WRITE_FAILURES_TOTAL = "sensorgate_request_log_write_failures_total", "Times the API log could not be written; it is tried again.";
    counter REQUEST_LOG_FILES_BROKEN_TOTAL = "sensorgate_request_log_files_broken_total", "Times the API log's file was found broken and set aside.";
    gauge REQUEST_LOG_BYTES = "sensorgate_request_log_bytes", "Bytes that the API log takes on disk; request_log.bytes_max bounds it.";
    counter WEBHOOK_ATTEMPTS_TOTAL = "sensorgate_webhook_attempts_total", "Attempts to deliver an event, by outcome (delivered, retry, dead, gone).";
    histogram WEBHOOK_ATTEMPT_SECONDS = "sensorgate_webhook_attempt_seconds", "How long an attempt took, whatever became of it.";
    gauge WEBHOOK_QUEUE_LENGTH = "sensorgate_webhook_queue_length", "Deliveries that wait, those of suspended integrations included.";
    counter WEBHOOK_EVENTS_DROPPED_TOTAL = "sensorgate_webhook_events_dropped_total", "Events that nobody is told of, by reason (queue_full: the subscription has too many waiting; notices_full: readings of too many integrations were refused at once; unwritten: the control database did not take them).";
    counter ADMIN_REQUESTS_TOTAL = "sensorgate_admin_requests_total", "Calls of administrators and probes by outcome (ok, refused, failed).";
    histogram ADMIN_REQUEST_SECONDS = "sensorgate_admin_request_seconds", "Time from a call's head to its answer's head, in seconds.";
    counter ADMIN_LOGINS_TOTAL = "sensorgate_admin_logins_total", "Sign-ins of administrators by outcome (ok, failed, throttled).";
}

/// What `/metrics` answers with.
#[derive(Clone)]
pub struct Rendering(metrics_exporter_prometheus::PrometheusHandle);

impl std::fmt::Debug for Rendering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendering")
    }
}

impl Rendering {
    /// All metrics in Prometheus' text form.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Installs the recorder of this process, before any other room takes a handle. Asked again, it gives the same one.
pub fn install() -> Rendering {
    static RENDERING: std::sync::OnceLock<Rendering> = std::sync::OnceLock::new();
    let rendering = RENDERING.get_or_init(|| {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let rendering = Rendering(recorder.handle());
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("Another recorder of metrics is installed; /metrics stays empty.");
        }
        describe();
        rendering
    });
    rendering.clone()
}
