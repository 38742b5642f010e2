-- Whether starts can be counted over a period, and the period as text.
-- Locks nothing.
select isfinite($1) and extract(epoch from $1) between 0.001 and 366 * 86400, left($1::text, 64)
