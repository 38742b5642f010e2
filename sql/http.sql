-- What requests of executor http are signed with. Nobody reads it but the owner of the extension.

CREATE TABLE pgflow.http_secrets (
  flow_slug  text COLLATE "C" NOT NULL,
  secrets    text[] NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT "a flow has one list of secrets" PRIMARY KEY (flow_slug)
);
COMMENT ON TABLE pgflow.http_secrets IS 'The secrets that requests of executor http are signed with, for each flow.';
COMMENT ON COLUMN pgflow.http_secrets.flow_slug IS 'The flow; empty for all flows that have no secrets of their own.';
COMMENT ON COLUMN pgflow.http_secrets.secrets IS 'Secrets of the form whsec_…: one, or more while one is being replaced. A request has a signature by each.';

SELECT pg_catalog.pg_extension_config_dump('pgflow.http_secrets', '');
