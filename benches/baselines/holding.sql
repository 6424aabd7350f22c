-- Shared by the baselines that keep one row per held address.
CREATE SCHEMA baseline;
CREATE TABLE baseline.pool (first bigint, last bigint);
CREATE TABLE baseline.holding (pool integer, ip inet, device uuid NOT NULL UNIQUE, at timestamptz DEFAULT now(), PRIMARY KEY (pool, ip));
CREATE TABLE baseline.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ip inet, device uuid, at timestamptz DEFAULT now());

CREATE FUNCTION baseline.populate(prefix integer, share double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO baseline.pool VALUES (1, (2 ^ (32 - prefix))::bigint - 2);
  INSERT INTO baseline.holding
  SELECT 1, '10.0.0.0'::inet + n, md5(n::text)::uuid FROM baseline.pool, generate_series(first, last) AS n WHERE random() < share;
$$;

CREATE FUNCTION baseline.release(held_by uuid) RETURNS inet LANGUAGE sql AS $$
  WITH freed AS (DELETE FROM baseline.holding WHERE device = held_by RETURNING ip, device)
  INSERT INTO baseline.log (ip, device) SELECT ip, device FROM freed RETURNING ip;
$$;
CREATE FUNCTION baseline.has(held_by uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM baseline.holding WHERE device = held_by);
$$;
CREATE FUNCTION baseline.held() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM baseline.holding';
CREATE FUNCTION baseline.size() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_total_relation_size('baseline.holding') $$;
