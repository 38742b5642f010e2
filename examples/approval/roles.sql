-- Who there is, as PostgreSQL roles. A superuser runs this once.

-- The program: it owns the flow and works its queue.
CREATE ROLE app LOGIN;
SELECT pgflow.grant_access('app', 'author'), pgflow.grant_access('app', 'worker'), pgflow.grant_queue('expense', 'app');

CREATE TABLE payments (
  key     text PRIMARY KEY,
  payee   text NOT NULL,
  amount  numeric(10, 2) NOT NULL CHECK (amount > 0),
  paid_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON payments TO app;

-- The people. They reach the database through pgflow-live alone, which logs in as gateway and takes the role that
-- their token names.
CREATE ROLE gateway LOGIN NOINHERIT;
CREATE ROLE employee;
CREATE ROLE manager;
GRANT employee, manager TO gateway;
INSERT INTO pgflow.gateway_roles VALUES ('gateway');
SELECT pgflow.grant_access('employee', 'client'), pgflow.grant_access('manager', 'client');
