-- Takes the address after the highest held one; a collision moves on by one, the end wraps to the beginning. Gaps are
-- reused only after the wrap. Some WireGuard control planes do it this way.
CREATE FUNCTION baseline.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  range     baseline.pool;
  base      inet := '10.0.0.0';
  candidate bigint;
BEGIN
  SELECT * INTO range FROM baseline.pool;
  SELECT h.ip - base + 1 INTO candidate FROM baseline.holding h WHERE h.pool = 1 ORDER BY h.ip DESC LIMIT 1;
  candidate := coalesce(candidate, range.first);
  FOR attempt IN range.first .. range.last LOOP
    IF candidate > range.last THEN candidate := range.first; END IF;
    BEGIN
      INSERT INTO baseline.holding (pool, ip, device) VALUES (1, base + candidate, wanted_by);
      RETURN base + candidate;
    EXCEPTION WHEN unique_violation THEN
      candidate := candidate + 1;
    END;
  END LOOP;
  RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400';
END $$;
