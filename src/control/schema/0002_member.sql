-- Organisations, their members and sessions, and the equipment registry.
-- Ids are 16 bytes (UUIDv7), times microseconds (Unix, UTC).

CREATE TABLE organisations (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    NOT NULL CHECK (trim(name) <> ''),
    name_folded   TEXT    NOT NULL UNIQUE,      -- lower case as Rust has it; SQLite folds ASCII only
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id                BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    organisation_id   BLOB    NOT NULL REFERENCES organisations (id),
    email             TEXT    NOT NULL,
    email_folded      TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL CHECK (trim(name) <> ''),
    active            INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    password_hash     TEXT    NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    password_one_time INTEGER NOT NULL CHECK (password_one_time IN (0, 1)),
    -- Who last reset the password: they knew it for a while, so they cannot confirm this user's permission.
    password_reset_by BLOB    REFERENCES users (id),
    version           INTEGER NOT NULL DEFAULT 1,
    created_at_us     INTEGER NOT NULL,
    updated_at_us     INTEGER NOT NULL,
    last_login_at_us  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX users_by_organisation ON users (organisation_id, id);

CREATE TRIGGER users_stay_in_their_organisation BEFORE UPDATE OF id, organisation_id, created_at_us ON users
WHEN NEW.id IS NOT OLD.id OR NEW.organisation_id IS NOT OLD.organisation_id
  OR NEW.created_at_us IS NOT OLD.created_at_us
BEGIN SELECT RAISE(ABORT, 'a user keeps id, organisation and time of creation'); END;

CREATE TRIGGER users_are_kept BEFORE DELETE ON users
BEGIN SELECT RAISE(ABORT, 'users are deactivated, never deleted: the audit log names them'); END;

-- A permission is given by one holder and takes effect when another has confirmed it (api.md §6). Rows are never
-- deleted, so that the two of a bootstrap stay the only ones that nobody confirmed.
CREATE TABLE user_permissions (
    user_id         BLOB    NOT NULL REFERENCES users (id),
    permission      TEXT    NOT NULL CHECK (permission = 'administration_integrations_access'),
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'held', 'removed')),
    origin          TEXT    NOT NULL CHECK (origin IN ('bootstrap', 'grant', 'break_glass')),
    granted_by      BLOB    REFERENCES users (id),
    granted_at_us   INTEGER NOT NULL,
    confirmed_by    BLOB    REFERENCES users (id),
    confirmed_at_us INTEGER,
    PRIMARY KEY (user_id, permission),
    CONSTRAINT granted_by_somebody CHECK (origin = 'bootstrap' OR granted_by IS NOT NULL),
    CONSTRAINT never_to_oneself CHECK (granted_by IS NULL OR granted_by <> user_id),
    CONSTRAINT confirmed_by_another CHECK (
        state <> 'held' OR origin <> 'grant'
        OR (confirmed_by IS NOT NULL AND confirmed_by <> granted_by AND confirmed_by <> user_id))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER permissions_start_pending BEFORE INSERT ON user_permissions
WHEN NEW.state <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'a permission starts pending; only the two of a bootstrap are born holding it')
    WHERE NEW.origin <> 'bootstrap' OR NEW.state <> 'held'
       OR (SELECT count(*) FROM user_permissions p JOIN users u ON u.id = p.user_id
           WHERE u.organisation_id = (SELECT organisation_id FROM users WHERE id = NEW.user_id)) >= 2;
END;

CREATE TRIGGER permissions_are_confirmed BEFORE UPDATE ON user_permissions
WHEN NEW.state = 'held' AND OLD.state <> 'held'
BEGIN
    SELECT RAISE(ABORT, 'only a pending permission can be confirmed')
    WHERE OLD.state <> 'pending' OR NEW.origin = 'bootstrap' OR NEW.granted_by IS NOT OLD.granted_by;
    SELECT RAISE(ABORT, 'the user must be active and have a password of their own')
    WHERE NOT EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND active = 1 AND password_one_time = 0);
    SELECT RAISE(ABORT, 'another active holder must confirm')
    WHERE NEW.origin = 'grant' AND NOT EXISTS (
        SELECT 1 FROM administrators a JOIN users u ON u.organisation_id = a.organisation_id
        WHERE u.id = NEW.user_id AND a.user_id = NEW.confirmed_by AND a.user_id IS NOT u.password_reset_by);
    SELECT RAISE(ABORT, 'the glass can be broken only while at most one holder is left')
    WHERE NEW.origin = 'break_glass' AND (
        SELECT count(*) FROM administrators
        WHERE organisation_id = (SELECT organisation_id FROM users WHERE id = NEW.user_id)) > 1;
END;

CREATE TRIGGER permissions_of_a_reset_password BEFORE UPDATE OF password_hash ON users
WHEN NEW.password_one_time = 1 AND EXISTS (
    SELECT 1 FROM user_permissions WHERE user_id = NEW.id AND state = 'held')
BEGIN SELECT RAISE(ABORT, 'a reset by somebody else makes the permission pending first'); END;

CREATE TRIGGER permissions_are_kept BEFORE DELETE ON user_permissions
BEGIN SELECT RAISE(ABORT, 'permissions are removed by state, never deleted'); END;

-- Active members: who can own an integration.
CREATE VIEW members (organisation_id, user_id) AS
    SELECT organisation_id, id FROM users WHERE active = 1;

-- Who may administer integrations now: active, holding the permission, with a password that only they know.
CREATE VIEW administrators (organisation_id, user_id) AS
    SELECT u.organisation_id, u.id FROM user_permissions p JOIN users u ON u.id = p.user_id
    WHERE p.state = 'held' AND u.active = 1 AND u.password_one_time = 0;

CREATE TABLE sessions (
    token_hash      BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),   -- SHA-256 of the token
    user_id         BLOB    NOT NULL REFERENCES users (id),
    created_at_us   INTEGER NOT NULL,
    last_used_at_us INTEGER NOT NULL,
    expires_at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, created_at_us);
CREATE INDEX sessions_by_end ON sessions (expires_at_us);

CREATE TABLE equipment (
    -- Half of every series that the store keeps: AUTOINCREMENT never gives a number out twice.
    number          INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number BETWEEN 1 AND 4294967295),
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    organisation_id BLOB    NOT NULL REFERENCES organisations (id),
    integration_id  BLOB    NOT NULL REFERENCES integrations (id),
    kind            TEXT    NOT NULL CHECK (kind IN ('sensor', 'controller', 'actuator', 'monitor')),
    type            TEXT,
    external_id     TEXT    CHECK (length(CAST(external_id AS BLOB)) BETWEEN 1 AND 128),
    name            TEXT,
    room            TEXT,
    location        TEXT,
    status          TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'retired')),
    version         INTEGER NOT NULL DEFAULT 1,
    created_at_us   INTEGER NOT NULL,
    updated_at_us   INTEGER NOT NULL,
    UNIQUE (integration_id, external_id)
) STRICT;

CREATE INDEX equipment_by_organisation ON equipment (organisation_id, number);
CREATE INDEX equipment_by_integration ON equipment (integration_id, number);

CREATE TRIGGER equipment_belongs_to_its_integration BEFORE INSERT ON equipment
WHEN NOT EXISTS (
    SELECT 1 FROM integrations WHERE id = NEW.integration_id AND organisation_id = NEW.organisation_id)
BEGIN SELECT RAISE(ABORT, 'equipment belongs to an integration of its own organisation'); END;

CREATE TRIGGER equipment_keeps_what_names_it BEFORE UPDATE ON equipment
WHEN NEW.number IS NOT OLD.number OR NEW.id IS NOT OLD.id OR NEW.organisation_id IS NOT OLD.organisation_id
  OR NEW.integration_id IS NOT OLD.integration_id OR NEW.created_at_us IS NOT OLD.created_at_us
  OR NEW.version IS NOT OLD.version + 1
BEGIN SELECT RAISE(ABORT, 'number, id, organisation and integration of equipment never change'); END;

CREATE TRIGGER equipment_is_kept BEFORE DELETE ON equipment
BEGIN SELECT RAISE(ABORT, 'equipment is retired, never deleted: its history goes on naming it'); END;
