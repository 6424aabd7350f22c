-- Triggers that keep the map of free addresses in step with the tables. ALWAYS, because a replication worker, too,
-- writes the tables. INSERT on allocation has no trigger, which keeps it cheap: the map only hints at free addresses,
-- and learns of a taken one when an insert conflicts.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.map_status() IS
  'The shared map of free addresses: first the whole server (pool_id null), then each pool of this '
  'database that was used since the map was created, at the first start or after a crash. Counters may '
  'wrap. No row unless pg_nebula is preloaded';
COMMENT ON FUNCTION nebula.warm_map(integer) IS
  'Reads pools into the shared map ahead of need and returns how many pages that took: one per 32768 held '
  'addresses. Without pool_id: every enabled pool that the map does not know yet, as after a restart. 0 '
  'unless pg_nebula is preloaded';
COMMENT ON FUNCTION nebula.map_differences(uuid, boolean) IS
  'Internal: where the map in shared memory differs from the rows of a project; repair: reads it again. '
  'Part of check_pool; no row unless pg_nebula is preloaded. Errors: P0002 no such project or pool';

COMMENT ON FUNCTION nebula.allocation_changed() IS 'Trigger: records in the map which addresses may have become free';
COMMENT ON FUNCTION nebula.pool_changed() IS 'Trigger: invalidates what the map and sessions have cached of pools';

CREATE TRIGGER allocation_deleted AFTER DELETE ON nebula.allocation
  FOR EACH ROW EXECUTE FUNCTION nebula.allocation_changed();
-- Not for other columns: renewing a lease does not change which addresses are free.
CREATE TRIGGER allocation_moved AFTER UPDATE ON nebula.allocation
  FOR EACH ROW WHEN ((OLD.project_id, OLD.pool_id, OLD.ip) IS DISTINCT FROM (NEW.project_id, NEW.pool_id, NEW.ip)
                     OR OLD.quarantined_until IS DISTINCT FROM NEW.quarantined_until)
  EXECUTE FUNCTION nebula.allocation_changed();
CREATE TRIGGER allocation_truncated AFTER TRUNCATE ON nebula.allocation
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.allocation_changed();
ALTER TABLE nebula.allocation ENABLE ALWAYS TRIGGER allocation_deleted;
ALTER TABLE nebula.allocation ENABLE ALWAYS TRIGGER allocation_moved;
ALTER TABLE nebula.allocation ENABLE ALWAYS TRIGGER allocation_truncated;

-- A row trigger where the free addresses change (range, gateway, reservations); otherwise sessions only have to read
-- the pools again.
CREATE TRIGGER pool_reshaped AFTER INSERT OR DELETE OR UPDATE OF pool_id, project_id, cidr, gateway ON nebula.pool
  FOR EACH ROW EXECUTE FUNCTION nebula.pool_changed();
CREATE TRIGGER pool_updated AFTER UPDATE OR TRUNCATE ON nebula.pool
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.pool_changed();
CREATE TRIGGER reservation_reshaped AFTER INSERT OR DELETE OR UPDATE ON nebula.reservation
  FOR EACH ROW EXECUTE FUNCTION nebula.pool_changed();
ALTER TABLE nebula.pool ENABLE ALWAYS TRIGGER pool_reshaped;
ALTER TABLE nebula.pool ENABLE ALWAYS TRIGGER pool_updated;
ALTER TABLE nebula.reservation ENABLE ALWAYS TRIGGER reservation_reshaped;
