-- Endpoints: where a device is reached on the underlay, host:port. One rule for registrations, codes, routes, pools and
-- plain UPDATEs. nebula_api::endpoint decides the same for the gateway and nebulactl; tests/fixtures/endpoints.txt has
-- cases that both are tried with.

CREATE FUNCTION nebula.special_networks() RETURNS TABLE (place integer, network inet, purpose text)
LANGUAGE sql IMMUTABLE AS $$
  VALUES (1, inet '127.0.0.0/8', 'the loopback'),
         (2, inet '::1/128', 'the loopback'),
         (3, inet '0.0.0.0/8', 'which stands for every address'),
         (4, inet '169.254.0.0/16', 'addresses of one link'),
         (5, inet 'fe80::/10', 'addresses of one link'),
         (6, inet '224.0.0.0/4', 'multicast'),
         (7, inet 'ff00::/8', 'multicast'),
         (8, inet '240.0.0.0/4', 'reserved by the Internet protocol'),
         (9, inet '::ffff:0:0/96', 'IPv4 addresses in the form of IPv6'),
         (10, inet '::/64', 'reserved by the Internet protocol')
$$;
COMMENT ON FUNCTION nebula.special_networks() IS
  'Internal: networks whose addresses no device can have or be reached at by others, the most telling first';
ALTER FUNCTION nebula.special_networks() ROWS 10;

CREATE FUNCTION nebula.endpoint_address(p_endpoint text) RETURNS inet
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_parts CONSTANT text[] := regexp_match(p_endpoint, '^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):[0-9]+$');
BEGIN
  RETURN coalesce(v_parts[1], v_parts[2])::inet;
EXCEPTION WHEN invalid_text_representation THEN
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.endpoint_address(text) IS
  'Internal: the address in an endpoint, host:port; null if it has a name';

-- A host whose last part is a number is an address to resolvers (inet_aton), each of which reads it in its own way:
-- 1.2.3, 0x7f000001 and 3325256711 are accepted by some and unknown to others. nebula 1.6 ends with such a host.
CREATE FUNCTION nebula.endpoint_fault(p_endpoint text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_name    CONSTANT text := '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
  v_octet   CONSTANT text := '(?:0|[1-9][0-9]{0,2})';
  v_parts   CONSTANT text[] := regexp_match(p_endpoint, '^(.{1,253}):([1-9][0-9]{0,4})$');
  v_host    CONSTANT text := lower(v_parts[1]);
  v_address inet;
  v_special record;
BEGIN
  IF v_parts IS NULL OR v_parts[2]::integer > 65535 THEN
    RETURN 'is not host:port';
  END IF;
  IF v_host ~ '^\[.*\]$' OR v_host ~ format('^%1$s(?:\.%1$s){3}$', v_octet) THEN
    v_address := nebula.endpoint_address(p_endpoint);
  END IF;
  IF v_address IS NOT NULL AND (family(v_address) = 6) = (v_host LIKE '[%') THEN
    SELECT s.network, s.purpose
      INTO v_special
      FROM nebula.special_networks() s
     WHERE v_address <<= s.network
     ORDER BY s.place
     LIMIT 1;
    RETURN CASE WHEN FOUND THEN format('lies in %s, %s', v_special.network, v_special.purpose) END;
  END IF;
  IF v_host !~ format('^%1$s(?:\.%1$s)*$', v_name) THEN
    RETURN 'is not host:port';
  END IF;
  IF v_host ~ '(^|\.)(?:[0-9]+|0x[0-9a-f]*)$' THEN
    RETURN 'has a number as host, but no IPv4 address';
  END IF;
  IF v_host ~ '^(?:(?:.*\.)?localhost|localhost\.localdomain|ip6-localhost|ip6-loopback)$' THEN
    RETURN 'names the loopback';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.endpoint_fault(text) IS
  'Internal: why no other device can use an endpoint, as the rest of a sentence; null if one can';

CREATE FUNCTION nebula.refuse_endpoint(p_endpoint text, p_fault text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RAISE EXCEPTION 'endpoint "%" %', left(p_endpoint, 80), p_fault
    USING ERRCODE = '22023',
      HINT = 'Name a host and a port where other devices reach this one, for example 192.0.2.10:4242, '
             '[2001:db8::1]:4242 or lighthouse.example.net:4242.';
END $$;
COMMENT ON FUNCTION nebula.refuse_endpoint(text, text) IS
  'Internal: the error of an endpoint that no other device can use. Errors: 22023';

CREATE FUNCTION nebula.check_endpoints(p_project_id uuid, p_role text, p_endpoints text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_wrong record;
BEGIN
  -- More than any real device has; nebula tries them all.
  IF cardinality(p_endpoints) > 16 THEN
    RAISE EXCEPTION '% endpoints were given, at most 16 are taken', cardinality(p_endpoints)
      USING ERRCODE = '22023', HINT = 'Name those that other devices reach best.';
  END IF;
  IF array_ndims(p_endpoints) > 1 OR EXISTS (SELECT FROM unnest(p_endpoints) e WHERE e IS NULL) THEN
    RAISE EXCEPTION 'endpoints must be a list of texts without null'
      USING ERRCODE = '22023', HINT = 'For example ARRAY[''192.0.2.10:4242''].';
  END IF;
  PERFORM nebula.refuse_endpoint(e.endpoint, nebula.endpoint_fault(e.endpoint))
     FROM unnest(p_endpoints) AS e(endpoint)
    WHERE nebula.endpoint_fault(e.endpoint) IS NOT NULL;
  IF p_role = 'host' THEN
    RETURN;
  END IF;
  SELECT e.endpoint, o.network, o.kind
    INTO v_wrong
    FROM unnest(p_endpoints) AS e(endpoint)
    JOIN (SELECT p.cidr AS network, 'the overlay' AS kind
            FROM nebula.project p
           WHERE p.project_id = p_project_id
          UNION ALL
          SELECT l.cidr, 'a pool'
            FROM nebula.pool l
           WHERE l.project_id = p_project_id
          UNION ALL
          SELECT r.network, 'a route'
            FROM nebula.route r
           WHERE r.project_id = p_project_id) o ON nebula.endpoint_address(e.endpoint) <<= o.network
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'endpoint % lies in %, %', v_wrong.endpoint, v_wrong.kind, v_wrong.network
      USING ERRCODE = '22023',
        HINT = 'Packets to it would go into the tunnel that they are to build; name an address outside.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_endpoints(uuid, text, text[]) IS
  'Internal: refuses endpoints that no other device can use, and those of a lighthouse or relay that are reached '
  'through the overlay only. Errors: 22023';

CREATE FUNCTION nebula.static_endpoints(p_project_id uuid)
RETURNS TABLE (device_id uuid, name text, endpoint text, address inet)
LANGUAGE sql STABLE AS $$
  SELECT d.device_id, d.name, e.endpoint, nebula.endpoint_address(e.endpoint)
    FROM nebula.device d
   CROSS JOIN LATERAL unnest(d.endpoints) AS e(endpoint)
   WHERE d.project_id = p_project_id
     AND d.role IN ('lighthouse', 'relay')
     AND d.revoked_at IS NULL
   ORDER BY d.name, e.endpoint
$$;
COMMENT ON FUNCTION nebula.static_endpoints(uuid) IS
  'Internal: endpoints of the lighthouses and relays of a project, which all configurations name, with the address of '
  'those that have one';

CREATE FUNCTION nebula.check_endpoint_owner(p_project_id uuid, p_device_id uuid, p_endpoints text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_other record;
BEGIN
  SELECT e.endpoint, o.name
    INTO v_other
    FROM unnest(p_endpoints) AS e(endpoint)
    JOIN nebula.static_endpoints(p_project_id) o
      ON substring(o.endpoint FROM '[0-9]+$') = substring(e.endpoint FROM '[0-9]+$')
         AND (o.address = nebula.endpoint_address(e.endpoint) OR lower(o.endpoint) = lower(e.endpoint))
   WHERE o.device_id <> p_device_id
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'endpoint % is that of device "%"', v_other.endpoint, v_other.name
      USING ERRCODE = '23505',
        HINT = 'Two devices behind one address need two ports; if it took that one''s place, revoke that one first.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_endpoint_owner(uuid, uuid, text[]) IS
  'Internal: refuses endpoints of a lighthouse or relay that another one of the project has. Errors: 23505';

-- The port on which a lighthouse answers nebula is that of its first endpoint (gateway/src/domain/nebula_yml.rs).
CREATE FUNCTION nebula.check_dns_port(p_dns_port integer, p_endpoints text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_dns_port = coalesce(substring(p_endpoints[1] FROM ':([0-9]+)$'), '4242')::integer THEN
    RAISE EXCEPTION 'port % cannot be for DNS: a lighthouse listens on it for nebula itself', p_dns_port
      USING ERRCODE = '22023', HINT = 'Give dnsPort another number, for example 53.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_dns_port(integer, text[]) IS
  'Internal: refuses a port for DNS on which a lighthouse with these endpoints listens for nebula. Errors: 22023';

-- Endpoints that the device has already are not checked again, so that one from an earlier release still renews.
CREATE FUNCTION nebula.device_endpoints_checked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_added text[];
BEGIN
  -- Of two changes at the same time, the later one sees the earlier one. Static hosts lock this row anyway, when their
  -- project gets a new version.
  PERFORM
     FROM nebula.project p
    WHERE p.project_id = NEW.project_id
      AND NEW.role <> 'host'
      FOR NO KEY UPDATE;
  v_added := ARRAY(SELECT e.endpoint
                     FROM unnest(NEW.endpoints) AS e(endpoint)
                    WHERE NOT EXISTS (SELECT
                                        FROM nebula.device d
                                       WHERE d.device_id = NEW.device_id
                                         AND d.project_id = NEW.project_id
                                         AND (NEW.role = 'host' OR d.role <> 'host')
                                         AND e.endpoint = ANY (d.endpoints)));
  IF v_added = '{}' THEN
    RETURN NEW;
  END IF;
  PERFORM nebula.check_endpoints(NEW.project_id, NEW.role,
                                 CASE WHEN array_ndims(NEW.endpoints) > 1 THEN NEW.endpoints ELSE v_added END);
  IF NEW.role <> 'host' THEN
    PERFORM nebula.check_endpoint_owner(NEW.project_id, NEW.device_id, v_added);
    PERFORM nebula.check_dns_port(p.dns_port, NEW.endpoints)
       FROM nebula.project p
      WHERE p.project_id = NEW.project_id
        AND NEW.role = 'lighthouse';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.device_endpoints_checked() IS
  'Trigger: endpoints of a device are such that other devices can use them. Errors: 22023, 23505 of another device';

-- Registering a device without endpoints fires no trigger.
CREATE TRIGGER device_endpoints_inserted BEFORE INSERT ON nebula.device
  FOR EACH ROW WHEN (NEW.endpoints <> '{}') EXECUTE FUNCTION nebula.device_endpoints_checked();
CREATE TRIGGER device_endpoints_updated BEFORE UPDATE OF endpoints, role, project_id ON nebula.device
  FOR EACH ROW WHEN (NEW.endpoints <> '{}' AND (NEW.endpoints, NEW.role, NEW.project_id)
                                               IS DISTINCT FROM (OLD.endpoints, OLD.role, OLD.project_id))
  EXECUTE FUNCTION nebula.device_endpoints_checked();

CREATE FUNCTION nebula.enrolment_endpoints_checked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.check_endpoints(NEW.project_id, NEW.role, NEW.endpoints);
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.enrolment_endpoints_checked() IS
  'Trigger: endpoints of a code are such that other devices can use them. One that a device has now is no error: the '
  'code may be for the time after that device. Errors: 22023';

CREATE TRIGGER enrolment_endpoints_checked BEFORE INSERT OR UPDATE OF endpoints, role, project_id ON nebula.enrolment
  FOR EACH ROW WHEN (NEW.endpoints <> '{}') EXECUTE FUNCTION nebula.enrolment_endpoints_checked();

CREATE FUNCTION nebula.unusable_endpoints(p_project_id uuid) RETURNS TABLE (device_id uuid, problem text, detail text)
LANGUAGE sql STABLE AS $$
  SELECT s.device_id, 'endpoint-unusable',
         format('endpoint "%s" %s; configurations leave it out', left(s.endpoint, 80),
                nebula.endpoint_fault(s.endpoint))
    FROM nebula.project p
   CROSS JOIN LATERAL nebula.static_endpoints(p.project_id) s
   WHERE (p_project_id IS NULL OR p.project_id = p_project_id)
     AND nebula.endpoint_fault(s.endpoint) IS NOT NULL
$$;
COMMENT ON FUNCTION nebula.unusable_endpoints(uuid) IS
  'Internal: endpoints of lighthouses and relays of a project, or of all, that other devices cannot use. Releases '
  'before 0.3.0 took them';
