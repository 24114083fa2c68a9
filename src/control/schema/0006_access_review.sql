-- Access reviews: the report byte for byte as it was generated, the answers, and the sign-off that ends all change.
CREATE TABLE access_reviews (
  id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  organisation_id BLOB    NOT NULL REFERENCES organisations (id),
  from_us         INTEGER NOT NULL,
  to_us           INTEGER NOT NULL,
  generated_at_us INTEGER NOT NULL,
  generated_by    BLOB    NOT NULL REFERENCES users (id),
  report          TEXT    NOT NULL CHECK (json_type(report) = 'object'),
  sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
  answers         TEXT    NOT NULL DEFAULT '{}' CHECK (json_type(answers) = 'object'),
  version         INTEGER NOT NULL DEFAULT 1,
  signed_by       BLOB    REFERENCES users (id),
  signed_at_us    INTEGER,
  CONSTRAINT period_runs_forward CHECK (from_us < to_us AND to_us <= generated_at_us),
  CONSTRAINT signed_whole CHECK ((signed_by IS NULL) = (signed_at_us IS NULL))
) STRICT;

CREATE INDEX access_reviews_by_organisation ON access_reviews (organisation_id, id);

CREATE TRIGGER review_begins_unsigned BEFORE INSERT ON access_reviews BEGIN
  SELECT RAISE(ABORT, 'a review begins without answers and without a signature')
    WHERE NEW.signed_by IS NOT NULL OR NEW.answers <> '{}' OR NEW.version <> 1;
  SELECT RAISE(ABORT, 'a review is never replaced') WHERE EXISTS (SELECT 1 FROM access_reviews WHERE id = NEW.id);
END;

CREATE TRIGGER review_keeps_its_report BEFORE UPDATE ON access_reviews BEGIN
  SELECT RAISE(ABORT, 'a signed review never changes') WHERE OLD.signed_by IS NOT NULL;
  SELECT RAISE(ABORT, 'the report stays as it was generated')
    WHERE NEW.id <> OLD.id OR NEW.organisation_id <> OLD.organisation_id OR NEW.from_us <> OLD.from_us
       OR NEW.to_us <> OLD.to_us OR NEW.generated_at_us <> OLD.generated_at_us
       OR NEW.generated_by <> OLD.generated_by OR NEW.report <> OLD.report OR NEW.sha256 <> OLD.sha256;
  SELECT RAISE(ABORT, 'each change adds 1 to the version') WHERE NEW.version <> OLD.version + 1;
  SELECT RAISE(ABORT, 'an administrator of the organisation must sign')
    WHERE NEW.signed_by IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM administrators
                      WHERE organisation_id = NEW.organisation_id AND user_id = NEW.signed_by);
END;

CREATE TRIGGER review_stays BEFORE DELETE ON access_reviews BEGIN
  SELECT RAISE(ABORT, 'a review is kept, never deleted');
END;
