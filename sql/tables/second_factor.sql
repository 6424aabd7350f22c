-- The second factor of accounts that have one: time-based one-time codes (TOTP, RFC 6238), and recovery codes.
CREATE TABLE nebula.totp (
  account_id     uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  sealed_secret  bytea       NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  confirmed_at   timestamptz,
  last_step      bigint      NOT NULL DEFAULT 0,
  CONSTRAINT totp_pkey PRIMARY KEY (account_id),
  CONSTRAINT totp_secret_check CHECK (octet_length(sealed_secret) BETWEEN 40 AND 200),
  CONSTRAINT totp_step_check CHECK (last_step >= 0)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.totp', '');

COMMENT ON TABLE nebula.totp IS 'Secrets of time-based one-time codes, by account';
COMMENT ON COLUMN nebula.totp.account_id IS 'Account that needs a code to sign in';
COMMENT ON COLUMN nebula.totp.sealed_secret IS 'The secret, sealed by the gateway, which alone can check codes';
COMMENT ON COLUMN nebula.totp.created_at IS 'When the secret was made';
COMMENT ON COLUMN nebula.totp.confirmed_at IS
  'When a code has shown that the account has the secret; before, none is asked for';
COMMENT ON COLUMN nebula.totp.last_step IS
  'The 30 s since 1970 whose code was used last: each code is good once';

-- For an account whose holder has lost the device that makes codes. Only the holder knows the codes themselves.
CREATE TABLE nebula.recovery_code (
  account_id  uuid  NOT NULL REFERENCES nebula.totp ON DELETE CASCADE,
  code_hash   bytea NOT NULL,
  CONSTRAINT recovery_code_pkey PRIMARY KEY (account_id, code_hash),
  CONSTRAINT recovery_code_hash_check CHECK (octet_length(code_hash) = 32)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.recovery_code', '');

COMMENT ON TABLE nebula.recovery_code IS 'Codes that are good once instead of a time-based one, by hash';
COMMENT ON COLUMN nebula.recovery_code.account_id IS 'Their account';
COMMENT ON COLUMN nebula.recovery_code.code_hash IS 'SHA-256 of the code, which has 80 random bits';
