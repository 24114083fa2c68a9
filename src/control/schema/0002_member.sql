-- Organisations and their members. (Draft: the two views at the end are what 0001 relies on; the rest may grow.)

CREATE TABLE organisations (
  id              BLOB    PRIMARY KEY CHECK (length(id) = 16),
  name            TEXT    NOT NULL CHECK (trim(name) <> ''),
  created_at_us   INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
  id              BLOB    PRIMARY KEY CHECK (length(id) = 16),
  organisation_id BLOB    NOT NULL REFERENCES organisations (id),
  email           TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  name            TEXT    NOT NULL,
  active          INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
  permissions     TEXT    NOT NULL DEFAULT '[]' CHECK (json_type(permissions) = 'array'),
  created_at_us   INTEGER NOT NULL
) STRICT;

-- Active members.
CREATE VIEW members (organisation_id, user_id) AS
  SELECT organisation_id, id FROM users WHERE active = 1;

-- Active members who hold the permission, confirmed where that is needed.
CREATE VIEW administrators (organisation_id, user_id) AS
  SELECT organisation_id, id FROM users
  WHERE active = 1
    AND EXISTS (SELECT 1 FROM json_each(permissions) WHERE value = 'administration_integrations_access');
