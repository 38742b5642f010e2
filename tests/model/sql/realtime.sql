-- A stand-in for Supabase Realtime that keeps what it is told.
create schema if not exists realtime;
create table if not exists realtime.told (
  n bigint generated always as identity primary key, run_id uuid, step_slug text, status text, payload jsonb);
create index if not exists told_by_step on realtime.told (run_id, step_slug, n);
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language sql as $$
  insert into realtime.told (run_id, step_slug, status, payload)
  values (substr(topic, 12)::uuid, payload ->> 'step_slug', payload ->> 'status', payload)
$$;
