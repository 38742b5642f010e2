-- Writes steps of a version that no run has seen, one from each place of the arrays. A step that is there already keeps
-- its age.
-- The row of the version is locked by the caller.
insert into pgflow.steps (flow_slug, flow_version, step_slug, step_index, step_type, map_over, executor, target, queue,
                          start_mode, max_attempts, base_delay, timeout, start_delay, required_input_pattern,
                          forbidden_input_pattern, when_unmet, when_exhausted, created_at)
select $1, $2, s.step_slug, s.step_index, s.step_type, s.map_over, s.executor, s.target, s.queue,
       s.start_mode, s.max_attempts, s.base_delay, s.timeout, s.start_delay, s.required_input_pattern::jsonb,
       s.forbidden_input_pattern::jsonb, s.when_unmet, s.when_exhausted, $3
from unnest($4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::int[], $13::int[], $14::int[], $15::int[], $16::text[],
            $17::text[], $18::text[], $19::text[])
       as s (step_index, step_slug, step_type, map_over, executor, target, queue,
             start_mode, max_attempts, base_delay, timeout, start_delay, required_input_pattern,
             forbidden_input_pattern, when_unmet, when_exhausted)
on conflict (flow_slug, flow_version, step_slug) do update
set step_index = excluded.step_index, step_type = excluded.step_type, map_over = excluded.map_over, executor = excluded.executor, target = excluded.target,
    queue = excluded.queue, start_mode = excluded.start_mode, max_attempts = excluded.max_attempts,
    base_delay = excluded.base_delay, timeout = excluded.timeout, start_delay = excluded.start_delay,
    required_input_pattern = excluded.required_input_pattern,
    forbidden_input_pattern = excluded.forbidden_input_pattern,
    when_unmet = excluded.when_unmet, when_exhausted = excluded.when_exhausted
