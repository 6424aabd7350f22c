-- Nothing is for everybody: service roles get what they need from roles.sql, by name.
-- New functions are executable by PUBLIC until revoked, so an upgrade script ends with these same statements;
-- without USAGE on the schema nobody reaches them in between.
REVOKE ALL ON SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA nebula FROM PUBLIC;
