-- Settings that any user may make, as unlike the usual ones as they can be. Those that this server does not have are
-- left out.
SELECT format('SET %I = %L', s.name, coalesce(v.value, 'off'))
FROM pg_settings s
LEFT JOIN (VALUES
  ('DateStyle', 'SQL, DMY'), ('IntervalStyle', 'sql_standard'), ('TimeZone', 'Asia/Kathmandu'), ('extra_float_digits', '-15'),
  ('bytea_output', 'escape'), ('xmlbinary', 'hex'), ('xmloption', 'document'), ('array_nulls', 'off'),
  ('transform_null_equals', 'on'), ('quote_all_identifiers', 'on'), ('standard_conforming_strings', 'off'),
  ('escape_string_warning', 'off'), ('backslash_quote', 'off'), ('check_function_bodies', 'off'), ('row_security', 'off'),
  ('default_text_search_config', 'pg_catalog.german'), ('default_table_access_method', 'heap'), ('default_toast_compression', 'pglz'),
  ('default_transaction_isolation', 'serializable'), ('default_transaction_deferrable', 'on'), ('synchronous_commit', 'off'),
  ('plan_cache_mode', 'force_custom_plan'), ('constraint_exclusion', 'on'), ('cursor_tuple_fraction', '0'), ('from_collapse_limit', '1'),
  ('join_collapse_limit', '1'), ('geqo_threshold', '2'), ('random_page_cost', '1e300'), ('cpu_index_tuple_cost', '1e300'),
  ('work_mem', '64'), ('hash_mem_multiplier', '1'), ('parallel_setup_cost', '0'), ('parallel_tuple_cost', '0'), ('min_parallel_table_scan_size', '0'),
  ('min_parallel_index_scan_size', '0'), ('force_parallel_mode', 'on'), ('debug_parallel_query', 'on'), ('parallel_leader_participation', 'off'),
  ('jit', 'on'), ('jit_above_cost', '0'), ('restrict_nonsystem_relation_kind', 'view, foreign-table'), ('recursive_worktable_factor', '1000000'),
  ('stats_fetch_consistency', 'none'), ('client_min_messages', 'error'), ('gin_fuzzy_search_limit', '1'),
  ('idle_in_transaction_session_timeout', '60000'), ('commit_siblings', '0'), ('vacuum_cost_delay', '100')
) v (name, value) ON lower(v.name) = lower(s.name)
WHERE s.context = 'user' AND (v.name IS NOT NULL OR s.name LIKE 'enable%' AND s.vartype = 'bool')
ORDER BY s.name
\gexec
-- Nobody believes the claims of a session that is not a gateway's.
SET request.jwt.claims = 'not even JSON';
