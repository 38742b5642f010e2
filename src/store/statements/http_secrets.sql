-- The secrets for requests of a flow: its own, else those for all flows.
-- Locks nothing.
select s.secrets from pgflow.http_secrets s
where s.flow_slug = $1 or s.flow_slug is null
order by s.flow_slug nulls last
limit 1
