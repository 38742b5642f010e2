-- The functions of schema pgflow whose arguments have names: what they take and return, and whether they only read.
-- Locks nothing.
select p.proname::text as name, p.provolatile <> 'v' as only_reads,
       case when p.prorettype = 'void'::regtype then 'nothing'
            when p.proretset then 'rows'
            when t.typname = 'image/svg+xml' then 'image'
            else 'value' end as returns,
       a.names as argument_names, a.identifiers as argument_identifiers, a.types as argument_types
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_type t on t.oid = p.prorettype
cross join lateral (
  select coalesce(array_agg(i.name order by i.position), '{}') as names,
         coalesce(array_agg(quote_ident(i.name) order by i.position), '{}') as identifiers,
         coalesce(array_agg(format_type(i.type, null) order by i.position), '{}') as types
  from unnest(p.proargnames::text[], coalesce(p.proallargtypes, p.proargtypes::oid[])::oid[], p.proargmodes::text[])
       with ordinality i(name, type, mode, position)
  where i.type is not null and coalesce(i.mode, 'i') = 'i') a
where n.nspname = 'pgflow' and p.prokind = 'f' and p.provariadic = 0 and cardinality(a.names) = p.pronargs
  and not '' = any (a.names)
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
