-- Made at each opening where control.sensitive_scopes_need_two is on.
CREATE TRIGGER IF NOT EXISTS widening_waits BEFORE UPDATE ON integrations
WHEN NEW.scopes IS NOT OLD.scopes AND NEW.status IN ('approved', 'active', 'suspended')
BEGIN
  SELECT RAISE(ABORT, 'sensitive scopes wait for a second administrator')
    WHERE EXISTS (
      SELECT 1 FROM json_each(NEW.scopes) added
      WHERE (added.value LIKE 'compliance:%' OR added.value LIKE 'finance:%' OR added.value LIKE 'crm:%'
             OR added.value LIKE 'webhooks:%')
        AND added.value NOT IN (SELECT value FROM json_each(OLD.scopes))
        AND NOT (NEW.scopes_confirmed_version IS NEW.version
                 AND added.value IN (SELECT value FROM json_each(coalesce(OLD.scopes_pending, '[]')))));
END;

CREATE TRIGGER IF NOT EXISTS editor_does_not_approve BEFORE UPDATE ON integrations
WHEN OLD.status = 'requested' AND NEW.status = 'approved' AND NEW.approved_by IS OLD.edited_by
BEGIN SELECT RAISE(ABORT, 'who edited a request last cannot approve it'); END;
