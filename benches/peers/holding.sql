-- What the peers that keep one row per held address have in common.
CREATE SCHEMA peer;
CREATE TABLE peer.pool (first bigint, last bigint);
CREATE TABLE peer.holding (pool integer, ip inet, device uuid NOT NULL UNIQUE, at timestamptz DEFAULT now(), PRIMARY KEY (pool, ip));
CREATE TABLE peer.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ip inet, device uuid, at timestamptz DEFAULT now());

CREATE FUNCTION peer.populate(prefix integer, share double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO peer.pool VALUES (1, (2 ^ (32 - prefix))::bigint - 2);
  INSERT INTO peer.holding
  SELECT 1, '10.0.0.0'::inet + n, md5(n::text)::uuid FROM peer.pool, generate_series(first, last) AS n WHERE random() < share;
$$;

CREATE FUNCTION peer.release(held_by uuid) RETURNS inet LANGUAGE sql AS $$
  WITH freed AS (DELETE FROM peer.holding WHERE device = held_by RETURNING ip, device)
  INSERT INTO peer.log (ip, device) SELECT ip, device FROM freed RETURNING ip;
$$;
CREATE FUNCTION peer.has(held_by uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM peer.holding WHERE device = held_by);
$$;
CREATE FUNCTION peer.held() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM peer.holding';
CREATE FUNCTION peer.size() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_total_relation_size('peer.holding') $$;
