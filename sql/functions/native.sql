-- Functions in Rust that belong to no single word. All others are described in the file of their word: every function
-- in Rust exists before the first of these files runs.

COMMENT ON FUNCTION nebula.require_fresh_snapshot() IS
  'Internal: for those who lock and then look: refuses when the snapshot of a REPEATABLE READ '
  'transaction is older than the lock. Errors: 40001 run it again';
COMMENT ON FUNCTION nebula.table_changed() IS
  'Trigger: sessions remember what is in the table, and read it again when this transaction '
  'commits';
