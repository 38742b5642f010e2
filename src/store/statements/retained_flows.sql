-- The flows whose runs are pruned, and the moment before which a run must have ended.
-- Locks nothing.
select f.flow_slug, $1::timestamptz - f.keep from pgflow.flows f where f.keep is not null
