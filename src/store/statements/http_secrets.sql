-- The secrets for requests of a flow: its own, else those for all flows.
-- Locks nothing.
select s.secrets from pgflow.http_secrets s
where s.flow_slug in ($1, '')
order by s.flow_slug desc
limit 1
