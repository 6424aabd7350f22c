-- From 0.2.0 to 0.3.0: steps that need the new tables.
ALTER TABLE nebula.pool
  ADD CONSTRAINT pool_interface_id_fkey FOREIGN KEY (interface_id) REFERENCES nebula.node_interface ON DELETE SET NULL;
