-- One row per address; a free one is found through a partial index and locked with SKIP LOCKED.
-- As databases of phone numbers, DHCP leases and licence keys do it. Its device table is left out, in its favour.
CREATE SCHEMA peer;
CREATE TABLE peer.address (pool integer, ip inet, device uuid, PRIMARY KEY (pool, ip));
CREATE TABLE peer.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ip inet, device uuid, at timestamptz DEFAULT now());

CREATE FUNCTION peer.populate(prefix integer, share double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO peer.address
  SELECT 1, '10.0.0.0'::inet + n, CASE WHEN random() < share THEN md5(n::text)::uuid END
    FROM generate_series(1, (2 ^ (32 - prefix))::integer - 2) AS n;
$$;
CREATE INDEX ON peer.address (pool, ip) WHERE device IS NULL;
CREATE UNIQUE INDEX ON peer.address (device) WHERE device IS NOT NULL;

CREATE FUNCTION peer.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  found_ip inet;
BEGIN
  SELECT a.ip INTO found_ip FROM peer.address a WHERE a.pool = 1 AND a.device IS NULL
   ORDER BY a.ip LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400'; END IF;
  UPDATE peer.address a SET device = wanted_by WHERE a.pool = 1 AND a.ip = found_ip;
  INSERT INTO peer.log (ip, device) VALUES (found_ip, wanted_by);
  RETURN found_ip;
END $$;

CREATE FUNCTION peer.release(held_by uuid) RETURNS inet LANGUAGE sql AS $$
  UPDATE peer.address SET device = NULL WHERE device = held_by RETURNING ip;
$$;
CREATE FUNCTION peer.has(held_by uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM peer.address WHERE device = held_by);
$$;
CREATE FUNCTION peer.held() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM peer.address WHERE device IS NOT NULL';
CREATE FUNCTION peer.size() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_total_relation_size('peer.address') $$;
