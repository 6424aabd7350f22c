-- Networks outside the overlay that members reach through a device. They are in its certificate (unsafe networks) and
-- in nebula.yml of all other members (unsafe routes).
CREATE TABLE nebula.route (
  project_id  uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  network     cidr        NOT NULL,
  device_id   uuid        NOT NULL REFERENCES nebula.device ON DELETE CASCADE,
  mtu         integer,
  metric      integer,
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT route_pkey PRIMARY KEY (project_id, network),
  CONSTRAINT route_mtu_check CHECK (mtu BETWEEN 500 AND 9001),
  CONSTRAINT route_metric_check CHECK (metric BETWEEN 0 AND 2147483647)
);
-- The networks for the certificate of a device; also follows the cascade from device.
CREATE INDEX route_device_idx ON nebula.route (device_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.route', '');

COMMENT ON TABLE nebula.route IS 'Networks behind devices, one way to each';
COMMENT ON COLUMN nebula.route.project_id IS 'The project';
COMMENT ON COLUMN nebula.route.network IS 'The network, outside the overlay';
COMMENT ON COLUMN nebula.route.device_id IS 'The device it is behind';
COMMENT ON COLUMN nebula.route.mtu IS 'MTU of the route; null: that of the overlay';
COMMENT ON COLUMN nebula.route.metric IS
  'Metric of the route in the kernel; null or 0: 2000, behind the routes of the machine itself';
COMMENT ON COLUMN nebula.route.created_at IS 'When it was made';
