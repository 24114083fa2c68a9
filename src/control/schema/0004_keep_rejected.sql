-- Whether an integration keeps readings that are rejected.
ALTER TABLE integrations ADD COLUMN keep_rejected INTEGER NOT NULL DEFAULT 0 CHECK (keep_rejected IN (0, 1));
