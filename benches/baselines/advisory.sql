-- One session at a time under an advisory lock; probes the index for each address from a random one upwards.
CREATE FUNCTION baseline.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  range     baseline.pool;
  base      inet := '10.0.0.0';
  candidate bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('pool 1', 0));
  SELECT * INTO range FROM baseline.pool;
  candidate := range.first + floor(random() * (range.last - range.first + 1))::bigint;
  FOR attempt IN range.first .. range.last LOOP
    IF candidate > range.last THEN candidate := range.first; END IF;
    IF NOT EXISTS (SELECT FROM baseline.holding h WHERE h.pool = 1 AND h.ip = base + candidate) THEN
      INSERT INTO baseline.holding (pool, ip, device) VALUES (1, base + candidate, wanted_by);
      RETURN base + candidate;
    END IF;
    candidate := candidate + 1;
  END LOOP;
  RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400';
END $$;
