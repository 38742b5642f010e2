select pgflow.run_flow('fuzz_chain', start_at => '294276-12-31 23:59:59.999999+00');
select pgflow.run_flow('fuzz_chain', start_at => '4713-01-02 00:00 BC');
select pgflow.run_flow('fuzz_chain', start_at => 'infinity');
select pgflow.prune_runs('178000000 years');
select pgflow.prune_runs('-178000000 years');
select pgflow.prune_runs(make_interval(months => 2147483647, days => -2147483648));
select pgflow.claim_step_tasks('fuzz_chain', 1, 2147483647);
select pgflow.claim_step_tasks('fuzz_chain', 1, 1581120000);
