-- A session is a family of refresh tokens that began with one sign-in.
CREATE TABLE nebula.session (
  session_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  account_id  uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  client      inet,
  user_agent  text,
  opened_at   timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  ended_at    timestamptz,
  end_reason  text,
  CONSTRAINT session_pkey PRIMARY KEY (session_id),
  CONSTRAINT session_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CONSTRAINT session_user_agent_check CHECK (octet_length(user_agent) <= nebula.text_limit('client')),
  CONSTRAINT session_end_reason_check CHECK (end_reason IN ('logout', 'ended', 'reuse', 'password', 'disabled'))
);
-- For ending all sessions of an account.
CREATE INDEX session_account_idx ON nebula.session (account_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.session', '');

COMMENT ON TABLE nebula.session IS 'Refresh-token families: one per sign-in';
COMMENT ON COLUMN nebula.session.session_id IS 'Identifier, also inside the access token';
COMMENT ON COLUMN nebula.session.account_id IS 'Account that signed in';
COMMENT ON COLUMN nebula.session.client IS 'Client address at sign-in';
COMMENT ON COLUMN nebula.session.user_agent IS 'Program at sign-in, as it named itself';
COMMENT ON COLUMN nebula.session.opened_at IS 'When the person signed in';
COMMENT ON COLUMN nebula.session.expires_at IS 'No refresh after this';
COMMENT ON COLUMN nebula.session.ended_at IS 'When the family was ended before its time';
COMMENT ON COLUMN nebula.session.end_reason IS
  'logout, ended (by the account or an administrator), reuse (an old token came back: it was stolen), password (it was '
  'changed) or disabled';

-- The refresh tokens of a family, by SHA-256. Only the client knows the tokens themselves.
CREATE TABLE nebula.session_token (
  token_hash   bytea       NOT NULL,
  session_id   uuid        NOT NULL REFERENCES nebula.session ON DELETE CASCADE,
  issued_at    timestamptz NOT NULL DEFAULT now(),
  replaced_at  timestamptz,
  next_hash    bytea,
  retry_hash   bytea,
  CONSTRAINT session_token_pkey PRIMARY KEY (token_hash),
  CONSTRAINT session_token_hash_check CHECK (octet_length(token_hash) = 32),
  CONSTRAINT session_token_next_check CHECK (next_hash IS NULL OR replaced_at IS NOT NULL),
  CONSTRAINT session_token_retry_check CHECK (retry_hash IS NULL OR next_hash IS NOT NULL)
);
-- Follows the cascade from session.
CREATE INDEX session_token_session_idx ON nebula.session_token (session_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.session_token', '');

COMMENT ON TABLE nebula.session_token IS 'Refresh tokens by hash; use of a replaced one ends its family';
COMMENT ON COLUMN nebula.session_token.token_hash IS 'SHA-256 of the token';
COMMENT ON COLUMN nebula.session_token.session_id IS 'Its family';
COMMENT ON COLUMN nebula.session_token.issued_at IS 'When it was handed out';
COMMENT ON COLUMN nebula.session_token.replaced_at IS 'When it was exchanged for the next one, or withdrawn';
COMMENT ON COLUMN nebula.session_token.next_hash IS
  'The token that it was exchanged for; null: withdrawn, because the client repeated the exchange that it came from';
COMMENT ON COLUMN nebula.session_token.retry_hash IS
  'SHA-256 of the key by which the client that exchanged it may repeat the exchange; null: it gave none';
