-- The moment before which a run must have ended; null when the interval is negative.
-- Locks nothing.
select $1::timestamptz - $2::interval where $2::interval >= interval '0'
