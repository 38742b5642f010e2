-- Roles as behind a gateway, and a flow whose runs the users of role member watch.
CREATE EXTENSION pgflow;
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE member;
GRANT member TO authenticator;
INSERT INTO pgflow.gateway_roles VALUES ('authenticator');
SELECT pgflow.grant_access('member', 'client');
SELECT pgflow.define_flow('{"flow_slug": "chain", "steps": [
  {"step_slug": "one"}, {"step_slug": "two", "deps_slugs": ["one"]}, {"step_slug": "three", "deps_slugs": ["two"]}]}');
SELECT pgflow.set_realtime('chain'), pgflow.grant_run('chain', 'member');
