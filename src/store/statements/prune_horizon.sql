-- The moment before which a run must have ended, null when the interval is out of range; and the interval as text.
-- Locks nothing.
select case when $2::interval between interval '0' and interval '1000 years' then $1::timestamptz - $2 end, $2::text
