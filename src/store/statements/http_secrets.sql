-- The secrets for requests of a flow: its own, and those for all flows, in this order; and whether they are its own.
-- Locks nothing.
select s.secrets, s.flow_slug <> '' from pgflow.http_secrets s
where s.flow_slug in ($1, '')
order by s.flow_slug desc
