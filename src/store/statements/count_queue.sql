-- How many tasks of a queue are leased, counted up to $2, and how many were started as close to $3 as the period ($4, in
-- seconds): no window holds one that is farther away, before or, when the clock went back, after.
-- Locks nothing.
select (select count(*) from (select from pgflow.live_tasks t
                              where t.queue = $1 and t.status = 'started' and t.lease is not null
                              limit $2) leased),
       (select coalesce(sum(s.tasks), 0)::bigint from pgflow.queue_starts s
        where s.queue = $1 and s.started_at >= $3::timestamptz - make_interval(secs => $4)
          and s.started_at <= $3::timestamptz + make_interval(secs => $4))
