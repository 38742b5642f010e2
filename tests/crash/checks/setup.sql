-- Before the work: the extension, and the table into which some handlers write their effect.
CREATE EXTENSION pgflow;
CREATE SCHEMA crash_test;
-- No key of its own: it must be able to hold an effect twice.
CREATE TABLE crash_test.ledger (run_id uuid NOT NULL, step_slug text NOT NULL, task_index int NOT NULL, attempt int NOT NULL);
CREATE UNLOGGED TABLE crash_test.journal (entry jsonb NOT NULL);
