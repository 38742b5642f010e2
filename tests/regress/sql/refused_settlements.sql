\pset null <null>
-- The four calls against every state a task can be in. Refused: no error, nothing changes, and the receipt says where things stand.
call t.flow('refused', '[{"step_slug": "a"}, {"step_slug": "b", "deps_slugs": ["a"]}, {"step_slug": "skipped", "required_input_pattern": {"x": 1}},
                         {"step_slug": "m", "step_type": "map", "deps_slugs": ["a"]}]', '{"max_attempts": 2}');
select pgflow.run_flow('refused') as run \gset
-- queued
select * from t.refusals(:'run', 'a');
select * from t.refusals(:'run', 'a', 0, 1);
-- its step is pending, or skipped: there is no task
select * from t.refusals(:'run', 'b');
select * from t.refusals(:'run', 'm', 5);
select * from t.refusals(:'run', 'skipped');
-- started, another lease
select step_slug from t.claim('refused');
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a') + 1);
-- queued for a retry
select * from t.fail(:'run', 'a', 'again', retry_after => 0);
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a'));
-- taken over
select attempt from t.claim('refused');
-- completed
select * from t.complete(:'run', 'a', '[1, 2]');
select * from t.refusals(:'run', 'a', 0, t.lease(:'run', 'a'));
select * from t.refusals(:'run', 'a');

-- failed, expired and cancelled, in a run that goes on
call t.flow('refused_ended', '[{"step_slug": "failed", "when_exhausted": "skip"}, {"step_slug": "expired", "when_exhausted": "skip"},
  {"step_slug": "m", "step_type": "map", "when_exhausted": "skip"}, {"step_slug": "last"}]', '{"max_attempts": 1}');
select pgflow.run_flow('refused_ended', '[0, 1]') as ended \gset
select count(*) from t.claim('refused_ended', 4);
select * from t.fail(:'ended', 'failed', 'no');
select * from t.fail(:'ended', 'm', 'no', 1);
call t.expire(:'ended', 'expired');
select step_slug from t.claim('refused_ended');
select step_slug, status from t.tasks(:'ended');
select * from t.refusals(:'ended', 'failed', 0, t.lease(:'ended', 'failed'));
select * from t.refusals(:'ended', 'expired', 0, t.lease(:'ended', 'expired'));
select * from t.refusals(:'ended', 'm', 0, t.lease(:'ended', 'm', 0));
select * from t.refusals(:'ended', 'm', 1);

-- of a run that has ended: completed, failed, cancelled
select * from t.complete(:'ended', 'last', '1');
select * from t.refusals(:'ended', 'last', 0, t.lease(:'ended', 'last'));
call t.flow('refused_failed', '[{"step_slug": "a"}, {"step_slug": "b"}]', '{"max_attempts": 1}');
select pgflow.run_flow('refused_failed') as failed, pgflow.run_flow('refused_failed') as cancelled \gset
select count(*) from t.claim('refused_failed');
select * from t.fail(:'failed', 'a', 'no');
select * from t.refusals(:'failed', 'a', 0, t.lease(:'failed', 'a'));
select * from t.refusals(:'failed', 'b', 0, t.lease(:'failed', 'b'));
select (pgflow.cancel_run(:'cancelled')).status;
select * from t.refusals(:'cancelled', 'a', 0, t.lease(:'cancelled', 'a'));

-- Unknown run or step, index out of range: PT404. The message is constant, the values stand in the DETAIL.
call t.fails($$select pgflow.complete_step_task('00000000-0000-7000-8000-000000000000', 'a')$$);
call t.fails($$select pgflow.fail_step_task('00000000-0000-7000-8000-000000000000', 'a', 'no')$$);
call t.fails($$select pgflow.extend_step_task('00000000-0000-7000-8000-000000000000', 'a')$$);
call t.fails($$select pgflow.release_step_task('00000000-0000-7000-8000-000000000000', 'a')$$);
call t.fails($$select pgflow.complete_step_task($1, 'nothing')$$, :'run');
call t.fails($$select pgflow.fail_step_task($1, 'nothing', 'no')$$, :'run');
call t.fails($$select pgflow.extend_step_task($1, 'nothing')$$, :'run');
call t.fails($$select pgflow.release_step_task($1, 'nothing')$$, :'run');
select * from t.steps(:'run');
select call, index, t.sqlstate(format('select pgflow.%s', replace(call, 'I', index::text)), :'run')
from (values ('complete_step_task($1, ''m'', null, I)'), ('fail_step_task($1, ''m'', ''no'', I)'),
             ('extend_step_task($1, ''m'', I)'), ('release_step_task($1, ''m'', I)')) v (call),
     (values (-1), (1), (2), (2147483647), (-2147483648)) i (index);
call t.fails($$select pgflow.complete_step_task($1, 'm', null, 2)$$, :'run');
call t.fails($$select pgflow.complete_step_task($1, 'b', null, -1)$$, :'run');
select * from pgflow.check_integrity();
