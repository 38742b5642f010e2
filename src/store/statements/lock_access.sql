-- Who grants and revokes capabilities takes turns: PostgreSQL lets nobody change the privileges of an object twice at once.
-- Locks access_grants until the transaction ends; who reads it does not wait.
lock table pgflow.access_grants in share row exclusive mode
