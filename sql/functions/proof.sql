-- Proof of the caller. The first parameter of every function that the role of the gateway may execute has one of these
-- two types, so that the function cannot be called without the proof, whatever its body does. Functions that these call
-- take the plain uuid.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.actor(text) IS
  'For the gateway: checks a signed access token (Ed25519, nebula.token_key) and the session, share or personal token '
  'that it names, or a personal token itself; notes its account as proven until the transaction ends, and returns it; '
  'the nil uuid for the token of a gateway. Errors: 28000 forged, expired, ended, account disabled; F0000 key unknown '
  'or retired, clocks differ';
COMMENT ON FUNCTION nebula.is_proven(uuid) IS
  'Internal: whether this transaction has proven the account by nebula.actor; true for sessions of the owner of the '
  'extension and of superusers. Errors: 28000 instead of false';
COMMENT ON FUNCTION nebula.is_gateway(uuid) IS
  'Internal: whether this transaction has proven that a gateway is calling; true for sessions of the owner of the '
  'extension and of superusers. Errors: 28000 instead of false';
COMMENT ON FUNCTION nebula.token_allows(uuid, text) IS
  'Internal: whether the tokens by which this transaction has proven an account allow the action: those of sessions '
  'and shares allow all that the account may do, a personal token what its scopes name. True for an account that '
  'needed no proof';

-- A block, because CREATE DOMAIN cannot be run again by an update.
DO $$
BEGIN
  IF to_regtype('nebula.proven_account') IS NULL THEN
    CREATE DOMAIN nebula.proven_account AS uuid CONSTRAINT proven_account_check CHECK (nebula.is_proven(VALUE));
    CREATE DOMAIN nebula.proven_gateway AS uuid CONSTRAINT proven_gateway_check CHECK (nebula.is_gateway(VALUE));
  END IF;
END $$;
COMMENT ON DOMAIN nebula.proven_account IS
  'An account that this transaction has proven: the result of nebula.actor. Sessions of the owner give any account id';
COMMENT ON DOMAIN nebula.proven_gateway IS
  'The nil uuid, in a transaction that has proven that a gateway is calling. Sessions of the owner give any value';
