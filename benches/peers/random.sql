-- A random address, and another one on a collision, ten times; then it gives up, however many are free.
CREATE FUNCTION peer.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  range     peer.pool;
  base      inet := '10.0.0.0';
  candidate inet;
BEGIN
  SELECT * INTO range FROM peer.pool;
  FOR attempt IN 1 .. 10 LOOP
    candidate := base + (range.first + floor(random() * (range.last - range.first + 1))::bigint);
    INSERT INTO peer.holding (pool, ip, device) VALUES (1, candidate, wanted_by) ON CONFLICT DO NOTHING;
    IF FOUND THEN RETURN candidate; END IF;
  END LOOP;
  RETURN NULL;
END $$;
