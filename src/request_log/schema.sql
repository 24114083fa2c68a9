-- The API log. Requests lie in blocks of many, so that one costs a copy, not a row with its indexes; what has to be
-- found is told beside the blocks. Sums by hour outlive the blocks.
CREATE TABLE meta (
  name            TEXT    NOT NULL PRIMARY KEY,
  value           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One block: the places first_seq … first_seq + count - 1 of the log.
CREATE TABLE block (
  first_seq       INTEGER PRIMARY KEY,
  count           INTEGER NOT NULL,
  first_us        INTEGER NOT NULL,
  last_us         INTEGER NOT NULL
) STRICT;

-- Its frames, compressed (zstd). Apart, so that a look over all blocks does not read them.
CREATE TABLE block_data (
  first_seq       INTEGER PRIMARY KEY,
  data            BLOB    NOT NULL
) STRICT;

-- Whose requests are in which block; the nil UUID stands for nobody. reading_* is the span of the readings that the
-- block's batches of this integration hold, statuses has a bit for each status (see block.rs).
CREATE TABLE presence (
  integration     BLOB    NOT NULL CHECK (length(integration) = 16),
  first_seq       INTEGER NOT NULL,
  statuses        INTEGER NOT NULL,
  rejected        INTEGER NOT NULL,
  reading_min_us  INTEGER,
  reading_max_us  INTEGER,
  PRIMARY KEY (integration, first_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX presence_by_block ON presence (first_seq);

-- The sums of one integration's hour (hours since 1970-01-01), as JSON.
CREATE TABLE hour (
  integration     BLOB    NOT NULL CHECK (length(integration) = 16),
  hour            INTEGER NOT NULL,
  data            BLOB    NOT NULL,
  PRIMARY KEY (integration, hour)
) STRICT, WITHOUT ROWID;

CREATE INDEX hour_by_age ON hour (hour);

CREATE TABLE address (
  integration     BLOB    NOT NULL CHECK (length(integration) = 16),
  address         TEXT    NOT NULL,
  requests        INTEGER NOT NULL,
  refused         INTEGER NOT NULL,
  first_us        INTEGER NOT NULL,
  last_us         INTEGER NOT NULL,
  PRIMARY KEY (integration, address)
) STRICT, WITHOUT ROWID;
