-- Tables of an application with a column that follows the address of each device. Allocation and release update it in
-- the same transaction, with the privileges of the owner of the table.
CREATE TABLE nebula.linked_table (
  target       regclass NOT NULL,
  id_column    name     NOT NULL,
  ip_column    name     NOT NULL,
  CONSTRAINT linked_table_pkey PRIMARY KEY (target)
);
-- A table that was dropped is left out: its number could be that of another table where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump(
  'nebula.linked_table', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = target)');

COMMENT ON TABLE nebula.linked_table IS
  'Tables of the application kept in step with allocations; see link_device_table';
COMMENT ON COLUMN nebula.linked_table.target IS 'The table; a dropped one is passed by';
COMMENT ON COLUMN nebula.linked_table.id_column IS 'Its column with the device identifier';
COMMENT ON COLUMN nebula.linked_table.ip_column IS 'Its column that shows the address';
