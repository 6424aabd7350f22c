-- Takes a random address, and another one on a collision; gives up after ten, however many are free.
CREATE FUNCTION baseline.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  range     baseline.pool;
  base      inet := '10.0.0.0';
  candidate inet;
BEGIN
  SELECT * INTO range FROM baseline.pool;
  FOR attempt IN 1 .. 10 LOOP
    candidate := base + (range.first + floor(random() * (range.last - range.first + 1))::bigint);
    INSERT INTO baseline.holding (pool, ip, device) VALUES (1, candidate, wanted_by) ON CONFLICT DO NOTHING;
    IF FOUND THEN RETURN candidate; END IF;
  END LOOP;
  RETURN NULL;
END $$;
