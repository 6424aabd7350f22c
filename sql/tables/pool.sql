-- A pool is a range of addresses to give out. It is one row, whatever its size.
CREATE TABLE nebula.pool (
  pool_id            integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
  project_id         uuid        NOT NULL REFERENCES nebula.project,
  name               text        NOT NULL DEFAULT 'default',
  cidr               cidr        NOT NULL,
  gateway            inet,
  created_at         timestamptz NOT NULL DEFAULT now(),
  enabled            boolean     NOT NULL DEFAULT true,
  thresholds         integer[]   NOT NULL DEFAULT '{80,90,95}',
  -- Named as in 0.2.0, so that dumps of that version restore into this one.
  alarmed            integer     NOT NULL DEFAULT 0,
  purpose            text        NOT NULL DEFAULT 'device',
  interface_id       uuid        REFERENCES nebula.node_interface ON DELETE SET NULL,
  CONSTRAINT pool_pkey PRIMARY KEY (pool_id),
  CONSTRAINT pool_project_name_key UNIQUE (project_id, name),
  CONSTRAINT pool_name_check CHECK (nebula.is_label(name)),
  CONSTRAINT pool_gateway_check CHECK (gateway <<= cidr),
  CONSTRAINT pool_thresholds_check CHECK (1 <= ALL (thresholds) AND 100 >= ALL (thresholds)),
  CONSTRAINT pool_purpose_check CHECK (purpose IN ('device', 'peer')),
  CONSTRAINT pool_interface_check CHECK (interface_id IS NULL OR purpose = 'peer' AND gateway IS NOT NULL)
);
-- The pools of an interface, read for each peer; also follows the cascade from node_interface.
CREATE INDEX pool_interface_idx ON nebula.pool (interface_id) WHERE interface_id IS NOT NULL;
-- Pools of interfaces that were dropped, for the next interface.
CREATE INDEX pool_idle_idx ON nebula.pool (project_id) WHERE purpose = 'peer' AND interface_id IS NULL;
-- The neighbours of a network among the pools of a project.
CREATE INDEX pool_network_idx ON nebula.pool (project_id, cidr);
SELECT pg_catalog.pg_extension_config_dump('nebula.pool', '');
SELECT pg_catalog.pg_extension_config_dump('nebula.pool_pool_id_seq', '');

COMMENT ON TABLE nebula.pool IS 'Ranges that addresses are given out from';
COMMENT ON COLUMN nebula.pool.pool_id IS 'Identifier; small because every allocation carries it';
COMMENT ON COLUMN nebula.pool.project_id IS 'The project it belongs to';
COMMENT ON COLUMN nebula.pool.name IS 'Name, unique in its project';
COMMENT ON COLUMN nebula.pool.cidr IS 'The range; overlaps no other pool of its project';
COMMENT ON COLUMN nebula.pool.gateway IS
  'Address kept for a gateway, in a pool of peers for the interface of its node; null: none';
COMMENT ON COLUMN nebula.pool.created_at IS 'When the pool was made';
COMMENT ON COLUMN nebula.pool.enabled IS 'False: gives out no address; what is held stays held';
COMMENT ON COLUMN nebula.pool.thresholds IS 'Percent used at which channel nebula_pool is notified';
COMMENT ON COLUMN nebula.pool.alarmed IS
  'Highest threshold that was notified since usage was below it; 0: none';
COMMENT ON COLUMN nebula.pool.purpose IS
  'device: inside the overlay, for its devices; peer: outside of it, for peers, which reach the overlay through nodes';
COMMENT ON COLUMN nebula.pool.interface_id IS
  'Interface whose peers get their addresses from it; null: none yet, or a pool of devices';

-- Pools of a project do not overlap, so one that contains a network is the one before it in the order of the index, and
-- those that it contains follow it. Fixed plan (sql/README.md).
CREATE FUNCTION nebula.overlapping_pool(p_project_id uuid, p_network inet, p_except integer DEFAULT NULL)
RETURNS nebula.pool
LANGUAGE plpgsql STABLE SET search_path = nebula, pg_temp
SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
  v_last  CONSTANT cidr := set_masklen(broadcast(p_network), CASE family(p_network) WHEN 4 THEN 32 ELSE 128 END)::cidr;
  v_found nebula.pool;
BEGIN
  SELECT l.*
    INTO v_found
    FROM nebula.pool l
   WHERE l.project_id = p_project_id
     AND l.cidr < p_network::cidr
     AND l.pool_id IS DISTINCT FROM p_except
   ORDER BY l.cidr DESC
   LIMIT 1;
  IF v_found.cidr >> p_network THEN
    RETURN v_found;
  END IF;
  SELECT l.*
    INTO v_found
    FROM nebula.pool l
   WHERE l.project_id = p_project_id
     AND l.cidr >= p_network::cidr
     AND l.cidr <= v_last
     AND l.pool_id IS DISTINCT FROM p_except
   ORDER BY l.cidr
   LIMIT 1;
  RETURN v_found;
END $$;
COMMENT ON FUNCTION nebula.overlapping_pool(uuid, inet, integer) IS
  'Internal: a pool of the project that overlaps a network, but for the one with this number; null: none does';

-- An exclusion constraint on (project_id, cidr) would need the extension btree_gist. Pools are created rarely, so a
-- trigger that locks the row of the project does the same, also for rows inserted by hand.
CREATE FUNCTION nebula.pool_refuse_overlap() RETURNS trigger
LANGUAGE plpgsql SET search_path = nebula, pg_temp AS $$
DECLARE
  v_overall nebula.project;
  v_other   nebula.pool;
BEGIN
  SELECT *
    INTO v_overall
    FROM nebula.project
   WHERE project_id = NEW.project_id
     FOR NO KEY UPDATE;
  PERFORM nebula.require_fresh_snapshot();
  IF NEW.purpose = 'device' AND family(NEW.cidr) = family(v_overall.cidr) AND NOT NEW.cidr <<= v_overall.cidr THEN
    RAISE EXCEPTION 'pool % lies outside the overlay % of project "%"',
        NEW.cidr, v_overall.cidr, v_overall.name
      USING ERRCODE = '22023', HINT = 'Choose a range inside the overlay.';
  END IF;
  -- nebula does not start with a route to a network inside the overlay, and peers are reached by such a route.
  IF NEW.purpose = 'peer' AND NEW.cidr && v_overall.cidr THEN
    RAISE EXCEPTION 'pool % of peers overlaps the overlay % of project "%"',
        NEW.cidr, v_overall.cidr, v_overall.name
      USING ERRCODE = '22023', HINT = 'Choose a range outside the overlay.';
  END IF;
  v_other := nebula.overlapping_pool(NEW.project_id, NEW.cidr, NEW.pool_id);
  IF v_other.pool_id IS NOT NULL THEN
    RAISE EXCEPTION 'pool % overlaps pool "%" (%) of project "%"',
        NEW.cidr, v_other.name, v_other.cidr, v_overall.name
      USING ERRCODE = '23505', HINT = 'Choose a range that no pool of the project covers yet.';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.pool_refuse_overlap() IS
  'Trigger: a pool of devices lies inside its project''s overlay, if it is of that family, a pool of peers '
  'outside of it, and neither overlaps a sibling';

CREATE TRIGGER pool_refuse_overlap BEFORE INSERT OR UPDATE OF cidr, project_id, purpose ON nebula.pool
  FOR EACH ROW EXECUTE FUNCTION nebula.pool_refuse_overlap();

-- The other side of that rule. The UPDATE has locked the row of the project, as the trigger above does.
CREATE FUNCTION nebula.project_keep_pools() RETURNS trigger
LANGUAGE plpgsql SET search_path = nebula, pg_temp AS $$
DECLARE
  v_pool nebula.pool;
BEGIN
  PERFORM nebula.require_fresh_snapshot();
  SELECT *
    INTO v_pool
    FROM nebula.pool
   WHERE project_id = OLD.project_id
     AND (purpose = 'device' AND family(cidr) = family(NEW.cidr) AND NOT cidr <<= NEW.cidr
          OR purpose = 'peer' AND cidr && NEW.cidr)
   ORDER BY cidr
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'pool "%" (%) of project "%" would lie % the overlay %', v_pool.name, v_pool.cidr, OLD.name,
        CASE WHEN v_pool.purpose = 'peer' THEN 'in' ELSE 'outside' END, NEW.cidr
      USING ERRCODE = '22023',
        HINT = 'Choose an overlay that contains every pool of devices of the project, and no pool of peers.';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.project_keep_pools() IS
  'Trigger: an overlay that is changed still contains every pool of devices of its project and family, and '
  'overlaps no pool of peers';

CREATE TRIGGER project_keep_pools BEFORE UPDATE OF cidr ON nebula.project
  FOR EACH ROW WHEN (NEW.cidr IS DISTINCT FROM OLD.cidr) EXECUTE FUNCTION nebula.project_keep_pools();
