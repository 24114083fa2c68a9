-- Webhook subscriptions, what waits to be sent to them, and what became of each attempt.
-- An event of an administrative change is written in the change's own transaction (transactional outbox).

CREATE TABLE webhooks (
  id                  BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  integration_id      BLOB    NOT NULL REFERENCES integrations (id),
  organisation_id     BLOB    NOT NULL REFERENCES organisations (id),
  url                 TEXT    NOT NULL CHECK (length(url) <= 2048),
  events              TEXT    NOT NULL CHECK (json_type(events) = 'array' AND json_array_length(events) > 0),
  description         TEXT,
  enabled             INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  -- Why it is not enabled: 'requested', or by the service itself 'gone' or 'failing'.
  disabled_cause      TEXT    CHECK (disabled_cause IN ('requested', 'gone', 'failing')),
  -- The first failed attempt since the last good one.
  failing_since_us    INTEGER,
  -- AES-256-GCM: nonce and sealed secret, by a key that is not in this database. Empty once it is deleted.
  secret_sealed       BLOB    NOT NULL,
  secret_key_id       TEXT    NOT NULL,
  secret_issued_at_us INTEGER NOT NULL,
  version             INTEGER NOT NULL DEFAULT 1,
  created_at_us       INTEGER NOT NULL,
  updated_at_us       INTEGER NOT NULL,
  -- Deleted ones keep their delivery log for as long as the log is kept.
  deleted_at_us       INTEGER,
  CONSTRAINT cause_iff_disabled CHECK ((enabled = 0) = (disabled_cause IS NOT NULL))
) STRICT;

CREATE INDEX webhooks_by_integration ON webhooks (integration_id, id);

CREATE TRIGGER webhook_keeps BEFORE UPDATE ON webhooks BEGIN
  SELECT RAISE(ABORT, 'immutable column')
    WHERE NEW.id <> OLD.id OR NEW.integration_id <> OLD.integration_id OR NEW.organisation_id <> OLD.organisation_id;
END;

-- An event on its way to one subscription. `body` is what is sent, to the byte.
CREATE TABLE webhook_deliveries (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  event_id        BLOB    NOT NULL CHECK (length(event_id) = 16),
  webhook_id      BLOB    NOT NULL REFERENCES webhooks (id),
  type            TEXT    NOT NULL,
  body            TEXT    NOT NULL CHECK (length(body) < 20000),
  request_id      BLOB,
  -- 'pending', 'delivered', 'dead' (given up; can be replayed) or 'discarded'.
  state           TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
  created_at_us   INTEGER NOT NULL,
  -- When it is tried next, while pending.
  next_at_us      INTEGER NOT NULL,
  -- Attempts ever made, and those of the schedule that have failed.
  attempts        INTEGER NOT NULL DEFAULT 0,
  failures        INTEGER NOT NULL DEFAULT 0,
  is_replay       INTEGER NOT NULL DEFAULT 0 CHECK (is_replay IN (0, 1))
) STRICT;

CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook_id, seq);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at_us) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (created_at_us);

CREATE TABLE webhook_attempts (
  delivery_seq    INTEGER NOT NULL REFERENCES webhook_deliveries (seq) ON DELETE CASCADE,
  attempt         INTEGER NOT NULL,
  at_us           INTEGER NOT NULL,
  target          TEXT    NOT NULL,
  address         TEXT,
  status          INTEGER,
  error           TEXT,
  latency_us      INTEGER NOT NULL,
  response        TEXT,
  PRIMARY KEY (delivery_seq, attempt)
) STRICT, WITHOUT ROWID;

-- Which notice of a daily quota was last written, so that each is given once a day.
CREATE TABLE webhook_quota_notices (
  integration_id  BLOB    NOT NULL PRIMARY KEY REFERENCES integrations (id),
  utc_day         INTEGER NOT NULL,
  level           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
