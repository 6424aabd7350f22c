-- Personal tokens: for programs that act for an account without a password, each with scopes and an end of its own.
CREATE TABLE nebula.personal_token (
  token_id       uuid        NOT NULL DEFAULT gen_random_uuid(),
  account_id     uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  token_hash     bytea       NOT NULL,
  name           text        NOT NULL,
  scopes         text[]      NOT NULL,
  actions        text[]      NOT NULL,
  made_at        timestamptz NOT NULL DEFAULT now(),
  expires_at     timestamptz NOT NULL,
  last_used_at   timestamptz,
  last_used_from inet,
  CONSTRAINT personal_token_pkey PRIMARY KEY (token_id),
  CONSTRAINT personal_token_hash_key UNIQUE (token_hash),
  CONSTRAINT personal_token_name_key UNIQUE (account_id, name),
  CONSTRAINT personal_token_hash_check CHECK (octet_length(token_hash) = 32),
  CONSTRAINT personal_token_name_check CHECK (nebula.is_label(name)),
  CONSTRAINT personal_token_scopes_check CHECK (cardinality(scopes) > 0 AND cardinality(actions) > 0)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.personal_token', '');

COMMENT ON TABLE nebula.personal_token IS
  'Tokens of programs that act for an account; only hashes of them are kept. Deleting a row ends its token at once';
COMMENT ON COLUMN nebula.personal_token.token_id IS 'Identifier, which is no secret';
COMMENT ON COLUMN nebula.personal_token.account_id IS 'Account that it acts for';
COMMENT ON COLUMN nebula.personal_token.token_hash IS 'SHA-256 of the token';
COMMENT ON COLUMN nebula.personal_token.name IS 'Name that its account gave it; no two of an account have the same';
COMMENT ON COLUMN nebula.personal_token.scopes IS
  'Scopes as they were asked for: read, write, admin, or actions of nebula.permission';
COMMENT ON COLUMN nebula.personal_token.actions IS
  'Actions that the scopes allowed when it was made; it never may do more than the roles of its account allow';
COMMENT ON COLUMN nebula.personal_token.made_at IS 'When it was made';
COMMENT ON COLUMN nebula.personal_token.expires_at IS 'It is refused from then on';
COMMENT ON COLUMN nebula.personal_token.last_used_at IS 'When it was last used, to within ten minutes or so';
COMMENT ON COLUMN nebula.personal_token.last_used_from IS 'Address of the client that used it then';
