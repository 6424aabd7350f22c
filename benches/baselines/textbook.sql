-- One row per address; a free one is found through a partial index and locked with SKIP LOCKED.
-- The way of databases of phone numbers, DHCP leases and licence keys. Its device table is left out, in its favour.
CREATE SCHEMA baseline;
CREATE TABLE baseline.address (pool integer, ip inet, device uuid, PRIMARY KEY (pool, ip));
CREATE TABLE baseline.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ip inet, device uuid, at timestamptz DEFAULT now());

CREATE FUNCTION baseline.populate(prefix integer, share double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO baseline.address
  SELECT 1, '10.0.0.0'::inet + n, CASE WHEN random() < share THEN md5(n::text)::uuid END
    FROM generate_series(1, (2 ^ (32 - prefix))::integer - 2) AS n;
$$;
CREATE INDEX ON baseline.address (pool, ip) WHERE device IS NULL;
CREATE UNIQUE INDEX ON baseline.address (device) WHERE device IS NOT NULL;

CREATE FUNCTION baseline.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  found_ip inet;
BEGIN
  SELECT a.ip INTO found_ip FROM baseline.address a WHERE a.pool = 1 AND a.device IS NULL
   ORDER BY a.ip LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400'; END IF;
  UPDATE baseline.address a SET device = wanted_by WHERE a.pool = 1 AND a.ip = found_ip;
  INSERT INTO baseline.log (ip, device) VALUES (found_ip, wanted_by);
  RETURN found_ip;
END $$;

CREATE FUNCTION baseline.release(held_by uuid) RETURNS inet LANGUAGE sql AS $$
  UPDATE baseline.address SET device = NULL WHERE device = held_by RETURNING ip;
$$;
CREATE FUNCTION baseline.has(held_by uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM baseline.address WHERE device = held_by);
$$;
CREATE FUNCTION baseline.held() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM baseline.address WHERE device IS NOT NULL';
CREATE FUNCTION baseline.size() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_total_relation_size('baseline.address') $$;
