-- One session at a time under an advisory lock; from a random place forward, one index probe per candidate.
CREATE FUNCTION peer.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  range     peer.pool;
  base      inet := '10.0.0.0';
  candidate bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('pool 1', 0));
  SELECT * INTO range FROM peer.pool;
  candidate := range.first + floor(random() * (range.last - range.first + 1))::bigint;
  FOR attempt IN range.first .. range.last LOOP
    IF candidate > range.last THEN candidate := range.first; END IF;
    IF NOT EXISTS (SELECT FROM peer.holding h WHERE h.pool = 1 AND h.ip = base + candidate) THEN
      INSERT INTO peer.holding (pool, ip, device) VALUES (1, base + candidate, wanted_by);
      RETURN base + candidate;
    END IF;
    candidate := candidate + 1;
  END LOOP;
  RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400';
END $$;
