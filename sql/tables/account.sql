-- Accounts of people and programs that sign in at the gateway.
CREATE TABLE nebula.account (
  account_id     uuid        NOT NULL DEFAULT gen_random_uuid(),
  username       text        NOT NULL,
  password_hash  text        NOT NULL,
  role           text        NOT NULL DEFAULT 'member',
  disabled_at    timestamptz,
  created_at     timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT account_pkey PRIMARY KEY (account_id),
  CONSTRAINT account_username_key UNIQUE (username),
  -- Lower case only, so that "Anna" and "anna" cannot be two people.
  CONSTRAINT account_username_check CHECK (username ~ '^[a-z0-9][a-z0-9._@-]{0,62}$'),
  CONSTRAINT account_password_hash_check CHECK (password_hash LIKE '$argon2id$%'),
  CONSTRAINT account_role_check CHECK (role IN ('admin', 'member'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.account', '');

COMMENT ON TABLE nebula.account IS 'Accounts that sign in at the gateway';
COMMENT ON COLUMN nebula.account.account_id IS 'Identifier carried by access tokens';
COMMENT ON COLUMN nebula.account.username IS 'Sign-in name, lower case';
COMMENT ON COLUMN nebula.account.password_hash IS
  'Argon2id in PHC string form; the password itself is never stored';
COMMENT ON COLUMN nebula.account.role IS 'admin: everything; member: the projects listed in project_member';
COMMENT ON COLUMN nebula.account.disabled_at IS 'Set: may not sign in or act any more';
COMMENT ON COLUMN nebula.account.created_at IS 'When the account was made';
