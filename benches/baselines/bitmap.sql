-- One row per 256 addresses with a bit for each; blocks that are not full are found through a partial index and locked
-- with SKIP LOCKED. Holders are rows of a second table.
CREATE SCHEMA baseline;
CREATE TABLE baseline.block (pool integer, number integer, bits bit(256) NOT NULL, is_full boolean NOT NULL, PRIMARY KEY (pool, number))
  WITH (fillfactor = 10);
CREATE INDEX ON baseline.block (pool, number) WHERE NOT is_full;
CREATE TABLE baseline.holding (pool integer, ip inet, device uuid NOT NULL UNIQUE, at timestamptz DEFAULT now(), PRIMARY KEY (pool, ip));
CREATE TABLE baseline.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ip inet, device uuid, at timestamptz DEFAULT now());

CREATE FUNCTION baseline.populate(prefix integer, share double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO baseline.holding
  SELECT 1, '10.0.0.0'::inet + n, md5(n::text)::uuid
    FROM generate_series(1, (2 ^ (32 - prefix))::integer - 2) AS n WHERE random() < share;
  -- Network and broadcast address count as held.
  INSERT INTO baseline.block
  SELECT 1, b, string_agg(CASE WHEN h.ip IS NULL AND n BETWEEN 1 AND (2 ^ (32 - prefix))::integer - 2 THEN '0' ELSE '1' END,
                          '' ORDER BY n)::bit(256), false
    FROM generate_series(0, (2 ^ (24 - prefix))::integer - 1) AS b
   CROSS JOIN LATERAL generate_series(b * 256, b * 256 + 255) AS n
    LEFT JOIN baseline.holding h ON h.pool = 1 AND h.ip = '10.0.0.0'::inet + n
   GROUP BY b;
  UPDATE baseline.block SET is_full = true WHERE position(B'0' IN bits) = 0;
$$;

CREATE FUNCTION baseline.allocate(wanted_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  found_block baseline.block;
  place       integer;
  found_ip    inet;
BEGIN
  SELECT * INTO found_block FROM baseline.block b WHERE b.pool = 1 AND NOT b.is_full
   ORDER BY b.number LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    -- Every block with room is locked: wait for the lowest.
    SELECT * INTO found_block FROM baseline.block b WHERE b.pool = 1 AND NOT b.is_full ORDER BY b.number LIMIT 1 FOR UPDATE;
    IF NOT FOUND THEN RAISE EXCEPTION 'exhausted' USING ERRCODE = '53400'; END IF;
  END IF;
  place := position(B'0' IN found_block.bits) - 1;
  found_block.bits := set_bit(found_block.bits, place, 1);
  UPDATE baseline.block b SET bits = found_block.bits, is_full = position(B'0' IN found_block.bits) = 0
   WHERE b.pool = 1 AND b.number = found_block.number;
  found_ip := '10.0.0.0'::inet + (found_block.number * 256 + place);
  INSERT INTO baseline.holding (pool, ip, device) VALUES (1, found_ip, wanted_by);
  RETURN found_ip;
END $$;

CREATE FUNCTION baseline.release(held_by uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  freed baseline.holding;
  place integer;
BEGIN
  DELETE FROM baseline.holding WHERE device = held_by RETURNING * INTO freed;
  place := (freed.ip - '10.0.0.0'::inet)::integer;
  UPDATE baseline.block SET bits = set_bit(bits, place % 256, 0), is_full = false WHERE pool = 1 AND number = place / 256;
  INSERT INTO baseline.log (ip, device) VALUES (freed.ip, held_by);
  RETURN freed.ip;
END $$;
CREATE FUNCTION baseline.has(held_by uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM baseline.holding WHERE device = held_by);
$$;
CREATE FUNCTION baseline.held() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM baseline.holding';
CREATE FUNCTION baseline.size() RETURNS bigint LANGUAGE sql AS $$
  SELECT pg_total_relation_size('baseline.block') + pg_total_relation_size('baseline.holding')
$$;
