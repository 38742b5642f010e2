do $$ declare r record; begin for r in select * from pgflow.claim_step_tasks('fuzz_map', 9) loop perform pgflow.release_step_task(r.run_id, r.step_slug, r.task_index, r.lease); commit; end loop; end $$;
do $$ declare r record; begin for r in select pgflow.run_flow('fuzz_chain') as run_id from generate_series(1, 3) loop rollback; perform pgflow.cancel_run(r.run_id); end loop; end $$;
