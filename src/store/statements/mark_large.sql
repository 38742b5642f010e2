-- Notes that inputs built from these runs, or their outputs, may exceed what jsonb can hold.
-- Updates the runs; the caller holds their locks.
update pgflow.runs r set large = true where r.run_id = any ($1::uuid[]) and not r.large
