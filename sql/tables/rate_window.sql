-- Rate limits that hold for all gateways together. Unlogged, since a crash may forget them: nothing is lost but the
-- memory of the last minutes.
CREATE UNLOGGED TABLE nebula.rate_window (
  limit_name  text        NOT NULL,
  subject     text        NOT NULL,
  taken       integer     NOT NULL DEFAULT 0,
  ends_at     timestamptz NOT NULL,
  was_refused boolean     NOT NULL DEFAULT false,
  CONSTRAINT rate_window_pkey PRIMARY KEY (limit_name, subject),
  CONSTRAINT rate_window_name_check CHECK (octet_length(limit_name) <= 63),
  CONSTRAINT rate_window_subject_check CHECK (octet_length(subject) <= nebula.text_limit('subject')),
  CONSTRAINT rate_window_taken_check CHECK (taken >= 0)
);
-- Finds windows that are over.
CREATE INDEX rate_window_end_idx ON nebula.rate_window (ends_at);
SELECT pg_catalog.pg_extension_config_dump('nebula.rate_window', '');

COMMENT ON TABLE nebula.rate_window IS 'How much of a rate limit was taken in the present window, by subject';
COMMENT ON COLUMN nebula.rate_window.limit_name IS 'Name of the limit, such as uploads';
COMMENT ON COLUMN nebula.rate_window.subject IS
  'Of whom: an account, an account in a project, or the network of a client';
COMMENT ON COLUMN nebula.rate_window.taken IS 'Calls since the window began, with those that a gateway has set aside';
COMMENT ON COLUMN nebula.rate_window.ends_at IS 'From then on nothing counts of what was taken';
COMMENT ON COLUMN nebula.rate_window.was_refused IS
  'Whether a call was refused in this window, of which there is an event';
