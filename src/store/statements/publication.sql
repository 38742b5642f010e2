-- The owner of a publication, and whether it has all tables of the database.
-- Locks nothing.
select pg_get_userbyid(p.pubowner)::text, p.puballtables from pg_catalog.pg_publication p where p.pubname = $1::text::name
