-- Integrations, their keys, their use, the metric numbers and the audit log.
--
-- The rules of the life cycle stand here a second time: whatever the program or a hand at the SQL prompt does, an
-- integration becomes active only by a request of one administrator and the approval of another. Ids are 16 bytes,
-- times are microseconds since 1970 UTC. `members` and `administrators` are views of 0002.

CREATE TABLE integrations (
  id                    BLOB    PRIMARY KEY CHECK (length(id) = 16),
  organisation_id       BLOB    NOT NULL REFERENCES organisations (id),
  status                TEXT    NOT NULL CHECK (status IN ('requested', 'approved', 'active', 'suspended', 'revoked')),
  version               INTEGER NOT NULL DEFAULT 1,
  vendor                TEXT    NOT NULL CHECK (vendor IN ('SAP', 'Salesforce', 'QuickBooks Online', 'Xero', 'Shopify',
                                  'HubSpot', 'NetSuite', 'Sage', 'Zapier', 'Microsoft Dynamics 365', 'Power Automate',
                                  'Custom')),
  name                  TEXT    NOT NULL CHECK (trim(name) <> '' AND length(name) <= 200),
  description           TEXT    NOT NULL CHECK (trim(description) <> '' AND length(description) <= 4000),
  owner_id              BLOB    NOT NULL REFERENCES users (id),
  contacts              TEXT    NOT NULL DEFAULT '[]' CHECK (json_type(contacts) = 'array'),
  scopes                TEXT    NOT NULL DEFAULT '[]' CHECK (json_type(scopes) = 'array'),
  rpm                   INTEGER NOT NULL DEFAULT 60 CHECK (rpm BETWEEN 1 AND 10000),
  daily_quota           INTEGER CHECK (daily_quota BETWEEN 1 AND 14400000),
  allowlist_enabled     INTEGER NOT NULL DEFAULT 0 CHECK (allowlist_enabled IN (0, 1)),
  allowlist             TEXT    NOT NULL DEFAULT '[]'
                                CHECK (json_type(allowlist) = 'array' AND json_array_length(allowlist) <= 50),
  temporary_rpm         INTEGER CHECK (temporary_rpm BETWEEN 1 AND 10000),
  temporary_until_us    INTEGER,
  temporary_reason      TEXT,
  backfill_start_us     INTEGER,
  backfill_until_us     INTEGER,
  backfill_reason       TEXT,

  -- 'embedded' or the issuer's URL; a client is unique within its issuer (S188).
  client_issuer         TEXT,
  client_id             TEXT,
  client_secret_hash    BLOB    CHECK (length(client_secret_hash) = 32),

  -- The newest key that ever was live; it is live while the status is active. It only grows, so a key that has died
  -- stays dead. The staged key waits for reactivation.
  key_generation        INTEGER,
  staged_generation     INTEGER,
  -- One of 20 places of the organisation, held while active or suspended (S153, S154).
  slot                  INTEGER CHECK (slot BETWEEN 1 AND 20),

  requested_by          BLOB    NOT NULL REFERENCES users (id),
  requested_at_us       INTEGER NOT NULL,
  approved_by           BLOB    REFERENCES users (id),
  approved_at_us        INTEGER,
  approved_scopes       TEXT,
  activated_by          BLOB    REFERENCES users (id),
  activated_at_us       INTEGER,
  suspended_by          BLOB    REFERENCES users (id),
  suspended_at_us       INTEGER,
  suspend_reason        TEXT,
  suspend_category      TEXT    CHECK (suspend_category IN ('security_concern', 'contract_pause', 'unexpected_api_behaviour')),
  reactivated_by        BLOB    REFERENCES users (id),
  reactivated_at_us     INTEGER,
  revoked_by            BLOB    REFERENCES users (id),
  revoked_at_us         INTEGER,
  revoke_reason         TEXT,
  updated_at_us         INTEGER NOT NULL,

  CONSTRAINT sod_approve      CHECK (approved_by IS NULL OR approved_by <> requested_by),
  -- Suspending clears reactivated_by, so that yesterday's reactivator may suspend today.
  CONSTRAINT sod_reactivate   CHECK (reactivated_by IS NULL OR (suspended_by IS NOT NULL AND reactivated_by <> suspended_by)),
  CONSTRAINT needs_approval   CHECK (status IN ('requested', 'revoked') OR approved_by IS NOT NULL),
  CONSTRAINT needs_activation CHECK (status NOT IN ('active', 'suspended') OR activated_by IS NOT NULL),
  CONSTRAINT needs_reason     CHECK (status <> 'suspended'
                                     OR (suspended_by IS NOT NULL AND coalesce(trim(suspend_reason), '') <> '')),
  CONSTRAINT needs_key        CHECK (status NOT IN ('active', 'suspended') OR key_generation IS NOT NULL),
  CONSTRAINT needs_client     CHECK (status NOT IN ('active', 'suspended') OR client_id IS NOT NULL),
  CONSTRAINT staged_is_newer  CHECK (staged_generation IS NULL
                                     OR (status = 'suspended' AND staged_generation > key_generation)),
  CONSTRAINT slot_iff_counted CHECK ((status IN ('active', 'suspended')) = (slot IS NOT NULL)),
  CONSTRAINT client_whole     CHECK ((client_issuer IS NULL) = (client_id IS NULL)),
  CONSTRAINT allowlist_filled CHECK (allowlist_enabled = 0 OR json_array_length(allowlist) > 0),
  CONSTRAINT temporary_whole  CHECK ((temporary_rpm IS NULL) = (temporary_until_us IS NULL)
                                     AND (temporary_rpm IS NULL) = (temporary_reason IS NULL)),
  CONSTRAINT backfill_whole   CHECK ((backfill_start_us IS NULL) = (backfill_until_us IS NULL)
                                     AND (backfill_start_us IS NULL) = (backfill_reason IS NULL)),
  UNIQUE (organisation_id, slot),
  FOREIGN KEY (id, key_generation) REFERENCES api_keys (integration_id, generation),
  FOREIGN KEY (id, staged_generation) REFERENCES api_keys (integration_id, generation)
) STRICT;

CREATE INDEX integrations_by_organisation ON integrations (organisation_id, id);
CREATE INDEX integrations_by_name ON integrations (organisation_id, name COLLATE NOCASE);
-- A revoked integration lets go of its client: the partner may come back with it (S142).
CREATE UNIQUE INDEX integrations_by_client ON integrations (client_issuer, client_id) WHERE status <> 'revoked';

CREATE TRIGGER integration_begins_requested BEFORE INSERT ON integrations BEGIN
  SELECT RAISE(ABORT, 'an integration begins in status requested, version 1, with nothing granted yet')
    WHERE NEW.status <> 'requested' OR NEW.version <> 1 OR NEW.approved_by IS NOT NULL OR NEW.activated_by IS NOT NULL
       OR NEW.suspended_by IS NOT NULL OR NEW.reactivated_by IS NOT NULL OR NEW.revoked_by IS NOT NULL
       OR NEW.key_generation IS NOT NULL OR NEW.client_secret_hash IS NOT NULL;
  SELECT RAISE(ABORT, 'an integration is never replaced')
    WHERE EXISTS (SELECT 1 FROM integrations WHERE id = NEW.id);
  SELECT RAISE(ABORT, 'the requester must be an administrator of the organisation')
    WHERE NOT EXISTS (SELECT 1 FROM administrators
                      WHERE organisation_id = NEW.organisation_id AND user_id = NEW.requested_by);
  SELECT RAISE(ABORT, 'the owner must be an active member of the organisation')
    WHERE NOT EXISTS (SELECT 1 FROM members WHERE organisation_id = NEW.organisation_id AND user_id = NEW.owner_id);
END;

CREATE TRIGGER integration_keeps BEFORE UPDATE ON integrations BEGIN
  SELECT RAISE(ABORT, 'revoked is terminal') WHERE OLD.status = 'revoked';
  SELECT RAISE(ABORT, 'immutable column')
    WHERE NEW.id <> OLD.id OR NEW.organisation_id <> OLD.organisation_id OR NEW.vendor <> OLD.vendor
       OR NEW.requested_by <> OLD.requested_by OR NEW.requested_at_us <> OLD.requested_at_us;
  SELECT RAISE(ABORT, 'each change adds 1 to the version') WHERE NEW.version <> OLD.version + 1;
  SELECT RAISE(ABORT, 'illegal transition')
    WHERE NEW.status <> OLD.status AND (OLD.status || ' ' || NEW.status) NOT IN (
      'requested approved', 'approved active', 'active suspended', 'suspended active',
      'requested revoked', 'approved revoked', 'active revoked', 'suspended revoked');
  SELECT RAISE(ABORT, 'who acted is written by the transition alone, once')
    WHERE (NEW.approved_by IS NOT OLD.approved_by AND NOT (OLD.status = 'requested' AND NEW.status = 'approved'))
       OR (NEW.activated_by IS NOT OLD.activated_by AND NOT (OLD.status = 'approved' AND NEW.status = 'active'))
       OR (NEW.suspended_by IS NOT OLD.suspended_by AND NOT (OLD.status = 'active' AND NEW.status = 'suspended'))
       OR (NEW.reactivated_by IS NOT OLD.reactivated_by
           AND NOT (OLD.status = 'suspended' AND NEW.status = 'active')
           AND NOT (OLD.status = 'active' AND NEW.status = 'suspended' AND NEW.reactivated_by IS NULL))
       OR (NEW.revoked_by IS NOT OLD.revoked_by AND NEW.status <> 'revoked');
  SELECT RAISE(ABORT, 'the client of an active integration is fixed')
    WHERE OLD.status = 'active' AND (NEW.client_id IS NOT OLD.client_id OR NEW.client_issuer IS NOT OLD.client_issuer);
  SELECT RAISE(ABORT, 'the owner must be an active member of the organisation')
    WHERE NEW.owner_id <> OLD.owner_id
      AND NOT EXISTS (SELECT 1 FROM members WHERE organisation_id = NEW.organisation_id AND user_id = NEW.owner_id);
END;

CREATE TRIGGER integration_moves BEFORE UPDATE OF status ON integrations WHEN NEW.status <> OLD.status BEGIN
  SELECT RAISE(ABORT, 'the actor must be an administrator of the organisation')
    WHERE NOT EXISTS (
      SELECT 1 FROM administrators
      WHERE organisation_id = NEW.organisation_id
        AND user_id = CASE OLD.status || ' ' || NEW.status
              WHEN 'requested approved' THEN NEW.approved_by
              WHEN 'approved active' THEN NEW.activated_by
              WHEN 'active suspended' THEN NEW.suspended_by
              WHEN 'suspended active' THEN NEW.reactivated_by
              ELSE NEW.revoked_by END);
  -- CHECK sod_reactivate compares with suspended_by, which integration_keeps leaves as it was: the last suspender.
END;

CREATE TRIGGER integration_keys BEFORE UPDATE ON integrations BEGIN
  SELECT RAISE(ABORT, 'a key that has died stays dead')
    WHERE coalesce(NEW.key_generation, 0) < coalesce(OLD.key_generation, 0)
       OR (NEW.status = 'active' AND OLD.status <> 'active'
           AND coalesce(NEW.key_generation, 0) <= coalesce(OLD.key_generation, 0))
       OR (NEW.key_generation IS NOT OLD.key_generation AND NEW.status <> 'active');
  SELECT RAISE(ABORT, 'only the newest key can be live')
    WHERE NEW.key_generation IS NOT OLD.key_generation
      AND NEW.key_generation IS NOT (SELECT max(generation) FROM api_keys WHERE integration_id = NEW.id);
END;

CREATE TRIGGER integration_stays BEFORE DELETE ON integrations BEGIN
  SELECT RAISE(ABORT, 'an integration is revoked, never deleted');
END;

-- Every key that was ever issued, by hash only. Which one is live or staged stands in integrations.
CREATE TABLE api_keys (
  hash            BLOB    PRIMARY KEY CHECK (length(hash) = 32),
  hash_algorithm  TEXT    NOT NULL DEFAULT 'sha256-v1' CHECK (hash_algorithm = 'sha256-v1'),
  integration_id  BLOB    NOT NULL REFERENCES integrations (id),
  generation      INTEGER NOT NULL CHECK (generation >= 1),
  prefix          TEXT    NOT NULL CHECK (length(prefix) = 16),
  issued_at_us    INTEGER NOT NULL,
  issued_by       BLOB    NOT NULL REFERENCES users (id),
  cause           TEXT,
  UNIQUE (integration_id, generation)
) STRICT;

CREATE TRIGGER key_follows BEFORE INSERT ON api_keys BEGIN
  SELECT RAISE(ABORT, 'keys are numbered without a gap')
    WHERE NEW.generation <> 1 + coalesce((SELECT max(generation) FROM api_keys
                                          WHERE integration_id = NEW.integration_id), 0);
  SELECT RAISE(ABORT, 'a key is never replaced') WHERE EXISTS (SELECT 1 FROM api_keys WHERE hash = NEW.hash);
  SELECT RAISE(ABORT, 'no key before approval, none after revocation')
    WHERE (SELECT status FROM integrations WHERE id = NEW.integration_id) NOT IN ('approved', 'active', 'suspended');
END;

CREATE TRIGGER key_is_fixed BEFORE UPDATE ON api_keys BEGIN
  SELECT RAISE(ABORT, 'a key is never changed');
END;

CREATE TRIGGER key_stays BEFORE DELETE ON api_keys BEGIN
  SELECT RAISE(ABORT, 'a key is never deleted');
END;

-- When a key was last used, in coarse steps; apart from the row that versions count.
CREATE TABLE key_usage (
  integration_id  BLOB    NOT NULL REFERENCES integrations (id),
  generation      INTEGER NOT NULL,
  last_used_at_us INTEGER NOT NULL,
  PRIMARY KEY (integration_id, generation)
) STRICT, WITHOUT ROWID;

-- Requests that an integration has used of a UTC day, numbered from 1970-01-01 (S232).
CREATE TABLE quota_usage (
  integration_id  BLOB    NOT NULL PRIMARY KEY REFERENCES integrations (id),
  utc_day         INTEGER NOT NULL,
  used            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Metric names and their numbers, which stand in stored series: given out once, never changed.
CREATE TABLE metrics (
  number          INTEGER PRIMARY KEY CHECK (number BETWEEN 0 AND 65535),
  name            TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TRIGGER metric_is_fixed BEFORE UPDATE ON metrics BEGIN
  SELECT RAISE(ABORT, 'a metric number is never changed');
END;

CREATE TRIGGER metric_stays BEFORE DELETE ON metrics BEGIN
  SELECT RAISE(ABORT, 'a metric number is never freed');
END;

-- The audit log. `body` is the entry, verbatim; the hash covers its bytes and the hash before.
CREATE TABLE audit_entries (
  organisation_id BLOB    NOT NULL CHECK (length(organisation_id) = 16),
  seq             INTEGER NOT NULL CHECK (seq >= 1),
  body            TEXT    NOT NULL,
  hash            BLOB    NOT NULL CHECK (length(hash) = 32),
  at_us           INTEGER NOT NULL GENERATED ALWAYS AS (json_extract(body, '$.at_us')) VIRTUAL,
  actor           TEXT    GENERATED ALWAYS AS (json_extract(body, '$.actor')) VIRTUAL,
  action          TEXT    NOT NULL GENERATED ALWAYS AS (json_extract(body, '$.action')) VIRTUAL,
  target          TEXT    NOT NULL GENERATED ALWAYS AS (json_extract(body, '$.target')) VIRTUAL,
  PRIMARY KEY (organisation_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_target ON audit_entries (organisation_id, target, seq);

CREATE TRIGGER audit_follows BEFORE INSERT ON audit_entries BEGIN
  SELECT RAISE(ABORT, 'audit entries are numbered without a gap')
    WHERE NEW.seq <> 1 + coalesce((SELECT max(seq) FROM audit_entries
                                   WHERE organisation_id = NEW.organisation_id), 0);
END;

CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit_entries BEGIN
  SELECT RAISE(ABORT, 'an audit entry is never changed');
END;

CREATE TRIGGER audit_stays BEFORE DELETE ON audit_entries BEGIN
  SELECT RAISE(ABORT, 'an audit entry is never deleted');
END;
