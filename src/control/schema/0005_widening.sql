-- Scopes that wait for a second administrator, and why sensitive ones were asked for.
--
-- The trigger `widening_waits` is not here: the program makes it where the configuration asks for the policy, and
-- takes it away where it does not, whenever the database is opened.

ALTER TABLE integrations ADD COLUMN justification TEXT CHECK (length(justification) <= 4000);
-- Who changed the request or the integration last; who takes an approved one back to requested.
ALTER TABLE integrations ADD COLUMN edited_by BLOB REFERENCES users (id);
ALTER TABLE integrations ADD COLUMN scopes_pending TEXT
  CHECK (scopes_pending IS NULL OR (json_type(scopes_pending) = 'array' AND status IN ('active', 'suspended')));
ALTER TABLE integrations ADD COLUMN scopes_pending_by BLOB REFERENCES users (id)
  CHECK ((scopes_pending IS NULL) = (scopes_pending_by IS NULL));
ALTER TABLE integrations ADD COLUMN scopes_pending_at_us INTEGER
  CHECK ((scopes_pending IS NULL) = (scopes_pending_at_us IS NULL));
-- The last confirmation: by whom, and the version that it made.
ALTER TABLE integrations ADD COLUMN scopes_confirmed_by BLOB REFERENCES users (id);
ALTER TABLE integrations ADD COLUMN scopes_confirmed_version INTEGER
  CHECK ((scopes_confirmed_by IS NULL) = (scopes_confirmed_version IS NULL));

CREATE TRIGGER integration_scopes_asked BEFORE UPDATE ON integrations
WHEN NEW.scopes_pending IS NOT NULL AND NEW.scopes_pending IS NOT OLD.scopes_pending
BEGIN
  SELECT RAISE(ABORT, 'scopes that wait are confirmed or declined before others are asked for')
    WHERE OLD.scopes_pending IS NOT NULL;
  SELECT RAISE(ABORT, 'an administrator of the organisation must ask for the scopes')
    WHERE NOT EXISTS (SELECT 1 FROM administrators
                      WHERE organisation_id = NEW.organisation_id AND user_id = NEW.scopes_pending_by);
END;

CREATE TRIGGER integration_scopes_asked_once BEFORE UPDATE ON integrations
WHEN OLD.scopes_pending IS NOT NULL AND NEW.scopes_pending IS NOT NULL
 AND (NEW.scopes_pending_by IS NOT OLD.scopes_pending_by OR NEW.scopes_pending_at_us IS NOT OLD.scopes_pending_at_us)
BEGIN SELECT RAISE(ABORT, 'who asked for scopes that wait, and when, is written once'); END;

CREATE TRIGGER integration_scopes_confirmed BEFORE UPDATE ON integrations
WHEN NEW.scopes_confirmed_by IS NOT OLD.scopes_confirmed_by
  OR NEW.scopes_confirmed_version IS NOT OLD.scopes_confirmed_version
BEGIN
  SELECT RAISE(ABORT, 'another administrator must confirm the scopes that wait')
    WHERE OLD.scopes_pending IS NULL OR NEW.scopes_pending IS NOT NULL
       OR NEW.scopes_confirmed_version IS NOT NEW.version
       OR NEW.scopes_confirmed_by IS OLD.scopes_pending_by
       OR NOT EXISTS (SELECT 1 FROM administrators
                      WHERE organisation_id = NEW.organisation_id AND user_id = NEW.scopes_confirmed_by);
END;

-- As in 0001, and an approval may be taken back: what was approved has changed since.
DROP TRIGGER integration_keeps;
CREATE TRIGGER integration_keeps BEFORE UPDATE ON integrations BEGIN
  SELECT RAISE(ABORT, 'revoked is terminal') WHERE OLD.status = 'revoked';
  SELECT RAISE(ABORT, 'immutable column')
    WHERE NEW.id <> OLD.id OR NEW.organisation_id <> OLD.organisation_id OR NEW.vendor <> OLD.vendor
       OR NEW.requested_by <> OLD.requested_by OR NEW.requested_at_us <> OLD.requested_at_us;
  SELECT RAISE(ABORT, 'each change adds 1 to the version') WHERE NEW.version <> OLD.version + 1;
  SELECT RAISE(ABORT, 'illegal transition')
    WHERE NEW.status <> OLD.status AND (OLD.status || ' ' || NEW.status) NOT IN (
      'requested approved', 'approved active', 'active suspended', 'suspended active', 'approved requested',
      'requested revoked', 'approved revoked', 'active revoked', 'suspended revoked');
  SELECT RAISE(ABORT, 'who acted is written by the transition alone, once')
    WHERE (NEW.approved_by IS NOT OLD.approved_by AND NOT (OLD.status = 'requested' AND NEW.status = 'approved')
           AND NOT (OLD.status = 'approved' AND NEW.status = 'requested' AND NEW.approved_by IS NULL))
       OR (NEW.activated_by IS NOT OLD.activated_by AND NOT (OLD.status = 'approved' AND NEW.status = 'active'))
       OR (NEW.suspended_by IS NOT OLD.suspended_by AND NOT (OLD.status = 'active' AND NEW.status = 'suspended'))
       OR (NEW.reactivated_by IS NOT OLD.reactivated_by
           AND NOT (OLD.status = 'suspended' AND NEW.status = 'active')
           AND NOT (OLD.status = 'active' AND NEW.status = 'suspended' AND NEW.reactivated_by IS NULL))
       OR (NEW.revoked_by IS NOT OLD.revoked_by AND NEW.status <> 'revoked');
  SELECT RAISE(ABORT, 'a request that was taken back is approved by nobody')
    WHERE NEW.status = 'requested' AND NEW.approved_by IS NOT NULL;
  SELECT RAISE(ABORT, 'the client of an active integration is fixed')
    WHERE OLD.status = 'active' AND (NEW.client_id IS NOT OLD.client_id OR NEW.client_issuer IS NOT OLD.client_issuer);
  SELECT RAISE(ABORT, 'the owner must be an active member of the organisation')
    WHERE NEW.owner_id <> OLD.owner_id
      AND NOT EXISTS (SELECT 1 FROM members WHERE organisation_id = NEW.organisation_id AND user_id = NEW.owner_id);
END;

DROP TRIGGER integration_moves;
CREATE TRIGGER integration_moves BEFORE UPDATE OF status ON integrations WHEN NEW.status <> OLD.status BEGIN
  SELECT RAISE(ABORT, 'the actor must be an administrator of the organisation')
    WHERE NOT EXISTS (
      SELECT 1 FROM administrators
      WHERE organisation_id = NEW.organisation_id
        AND user_id = CASE OLD.status || ' ' || NEW.status
              WHEN 'requested approved' THEN NEW.approved_by
              WHEN 'approved requested' THEN NEW.edited_by
              WHEN 'approved active' THEN NEW.activated_by
              WHEN 'active suspended' THEN NEW.suspended_by
              WHEN 'suspended active' THEN NEW.reactivated_by
              ELSE NEW.revoked_by END);
END;
