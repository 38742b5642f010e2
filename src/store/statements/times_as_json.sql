-- Times as JSON, in the order given.
-- Locks nothing.
select to_jsonb(u.at) from unnest($1::timestamptz[]) with ordinality u(at, ordinal) order by u.ordinal
