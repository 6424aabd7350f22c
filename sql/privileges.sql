-- PUBLIC has no privileges; roles.sql grants the service roles what they need, function by function.
-- PostgreSQL lets PUBLIC execute every new function, so update scripts end with these statements, too. Until then the
-- functions are out of reach for want of USAGE on the schema.
REVOKE ALL ON SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA nebula FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA nebula FROM PUBLIC;
