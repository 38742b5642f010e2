//! Ways to make a call: each a script of statements, one of which at least makes it.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::calls::Function;

/// A statement of a script, and what may come of it.
pub enum Act {
    /// Goes well.
    Do(String),
    /// Makes the call: goes well, or is refused with one of the contract's SQLSTATEs or one of these.
    Call(String, &'static [&'static str]),
    /// May fail in any way, as after an error.
    Try(String),
}

use Act::{Call, Do, Try};

/// The settings that a caller may have.
const SETTINGS: &[&str] = &[
    "plan_cache_mode = force_custom_plan",
    "plan_cache_mode = force_generic_plan",
    "enable_indexscan = off",
    "enable_nestloop = off",
    "enable_sort = off",
    "enable_seqscan = off",
    "join_collapse_limit = 1",
    "from_collapse_limit = 1",
    "jit = on",
    "jit_above_cost = 0",
    "work_mem = '64kB'",
    "hash_mem_multiplier = 1",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Pacific/Kiritimati'",
    "standard_conforming_strings = on",
    "transform_null_equals = on",
    "array_nulls = off",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "row_security = off",
    "session_replication_role = replica",
    "synchronous_commit = off",
    "geqo_threshold = 2",
    "quote_all_identifiers = on",
    "default_toast_compression = 'pglz'",
    "client_min_messages = debug1",
    "log_statement_stats = off",
    "max_parallel_workers_per_gather = 8",
    "statement_timeout = 0",
    "lock_timeout = '10s'",
    "search_path = ''",
    "search_path = 'no_such_schema'",
    "\"request.jwt.claims\" = 'not json'",
    "\"request.jwt.claims\" = '{\"sub\": \"somebody\"}'",
    "\"request.jwt.claims\" = '{\"sub\": {\"a\": [null]}}'",
];

/// What each way is called, for the summary.
pub const WAYS: &[&str] = &[
    "plain",
    "in the target list",
    "named",
    "limit 1",
    "twice at once",
    "for each row",
    "as a table",
    "as a view",
    "copied",
    "explained",
    "cursor",
    "cursor held",
    "cursor scrolled",
    "savepoint",
    "savepoints",
    "exception block",
    "read only",
    "repeatable read",
    "serializable",
    "aborted",
    "parallel",
    "prepared",
    "definer",
    "by nobody",
    "by somebody",
    "with commits",
    "hostile search_path",
    "settings",
    "timeout",
    "deferred trigger",
    "error at the second row",
    "lateral",
    "two-phase",
];

/// A call with its arguments.
pub struct Made<'a> {
    pub function: &'a Function,
    pub values: Vec<String>,
}

impl Made<'_> {
    fn by_place(&self) -> String {
        format!("{}({})", self.function.path, self.values.join(", "))
    }

    /// By name, in any order, with some that have a default left out.
    fn by_name(&self, rng: &mut StdRng) -> String {
        let Function { path, arguments, .. } = self.function;
        let mut named: Vec<String> = Vec::new();
        for (argument, value) in arguments.iter().zip(&self.values) {
            if argument.default.is_none() || rng.random_bool(0.6) {
                let at = rng.random_range(0..=named.len());
                named.insert(at, format!("{} => {value}", argument.name));
            }
        }
        format!("{path}({})", named.join(", "))
    }
}

/// The script of a way, or none where it does not fit the function.
pub fn script(rng: &mut StdRng, way: &str, made: &Made, other: &Made) -> Vec<Act> {
    const NONE: &[&str] = &[];
    const WRITES: &[&str] = &["25006"];
    const STALE: &[&str] = &["40001"];
    let f = made.by_place();
    let g = other.by_place();
    let function = made.function;
    let act = |sql: String| vec![Call(sql, NONE)];
    let end = *["commit", "rollback"].choose(rng).unwrap_or(&"commit");
    let within = |begin: &str, acts: Vec<Act>, end: &str| {
        let mut script = vec![Do(begin.to_owned())];
        script.extend(acts);
        script.push(Try(end.to_owned()));
        script
    };
    let with = |before: &str, acts: Vec<Act>, after: &str| {
        let mut script = vec![Do(before.to_owned())];
        script.extend(acts);
        script.push(Do(after.to_owned()));
        script
    };
    match way {
        "in the target list" => act(format!("select {f}")),
        "named" => act(format!("select * from {}", made.by_name(rng))),
        "limit 1" => act(format!("select {f} limit 1")),
        "twice at once" => act(format!("select {f}, {f}")),
        "for each row" => act(format!("select {f} from fuzz.many limit {}", rng.random_range(1..4))),
        "lateral" => {
            act(format!("select r.* from fuzz.many n left join lateral (select * from {f} limit n.n) r on true"))
        }
        "as a table" if function.is_value => {
            within("begin", act(format!("create temp table made on commit drop as select {f} as r")), end)
        }
        "as a view" if function.is_value => {
            let again = Call("refresh materialized view fuzz.made".to_owned(), NONE);
            let make = Call(format!("create materialized view fuzz.made as select {f} as r"), NONE);
            within("begin", vec![make, again], "rollback")
        }
        "copied" if function.is_value => act(format!("copy (select {f}) to '/dev/null'")),
        "explained" => act(format!("explain (analyze, verbose, buffers) select {f}")),
        "cursor" => {
            let open = Call(format!("declare c cursor for select {f}"), NONE);
            within("begin", vec![open, Call("fetch 1 from c".to_owned(), NONE), Try("close c".to_owned())], end)
        }
        "cursor held" => {
            let open = Call(format!("declare c scroll cursor with hold for select * from {f}"), NONE);
            let more = ["fetch last from c", "fetch prior from c", "close all"].map(|sql| Try(sql.to_owned()));
            let mut script = vec![Do("begin".to_owned()), open];
            if rng.random_bool(0.5) {
                script.push(Call("fetch 1 from c".to_owned(), NONE));
            }
            script.push(Call("commit".to_owned(), NONE));
            script.extend(more);
            script
        }
        "cursor scrolled" => {
            let open = Call(format!("declare c scroll cursor for select * from {f}"), NONE);
            let moves = ["fetch last from c", "fetch absolute 1 from c", "move backward all in c", "fetch 2 from c"];
            let moves = moves.map(|sql| Call(sql.to_owned(), NONE));
            within("begin", [open].into_iter().chain(moves).collect(), end)
        }
        "savepoint" => {
            let back = *["rollback to s", "release s"].choose(rng).unwrap_or(&"");
            let acts = vec![
                Do("savepoint s".to_owned()),
                Call(format!("select * from {f}"), NONE),
                Try(back.to_owned()),
                Try("rollback to s".to_owned()),
                Call(format!("select * from {g}"), NONE),
            ];
            within("begin", acts, end)
        }
        "savepoints" => {
            let mut acts = Vec::new();
            for n in 0..5 {
                acts.push(Do(format!("savepoint s{n}")));
                acts.push(Call(format!("select {} limit 1", if n % 2 == 0 { &f } else { &g }), NONE));
                acts.push(Do(format!(
                    "{} s{n}",
                    if rng.random_bool(0.5) { "rollback to" } else { "rollback to s0; savepoint" }
                )));
            }
            within("begin", acts, end)
        }
        "exception block" => {
            let allowed = "'{22004,22023,PT404,PT409,42501}'";
            act(format!(
                "do $fuzz$ begin call fuzz.caught($$select * from {f}$$, {allowed}); call fuzz.caught($$select {g} limit 1$$, {allowed}); call fuzz.caught($$select * from {f}$$, {allowed}); end $fuzz$"
            ))
        }
        "read only" => within("begin read only", vec![Call(format!("select * from {f}"), WRITES)], end),
        "repeatable read" | "serializable" => {
            let acts = vec![Call(format!("select * from {f}"), STALE), Call(format!("select {g}"), STALE)];
            within(&format!("begin isolation level {way}"), acts, end)
        }
        "aborted" => within("begin", vec![Call(format!("select {f}"), NONE), Try("select 1 / 0".to_owned())], "commit"),
        "parallel" => {
            let set = "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; \
                       select set_config(name, 'on', false) from pg_settings where name in ('debug_parallel_query', 'force_parallel_mode')";
            with(set, act(format!("select {f} from fuzz.many")), "reset all")
        }
        // EXECUTE takes no subqueries; plpgsql keeps plans as well.
        "prepared" if f.contains("(select") => {
            act(format!("do $fuzz$ begin for i in 1..7 loop perform * from {f}; end loop; end $fuzz$"))
        }
        "prepared" => {
            let types: Vec<_> = function.arguments.iter().map(|a| a.kind.as_str()).collect();
            let places: Vec<_> = (1..=types.len()).map(|n| format!("${n}")).collect();
            let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
            let values = if made.values.is_empty() { String::new() } else { format!("({})", made.values.join(", ")) };
            let prepare = format!("prepare made{types} as select * from {}({})", function.path, places.join(", "));
            let execute = (0..7).map(|_| Call(format!("execute made{values}"), NONE)).collect();
            with(&prepare, execute, "deallocate made")
        }
        "definer" => {
            let call = format!("select * from fuzz.definer_{}({})", function.name, made.values.join(", "));
            with("set role pgflow_fuzz_nobody", vec![Call(call, NONE)], "reset role")
        }
        "by nobody" => with("set role pgflow_fuzz_nobody", act(format!("select * from {f}")), "reset role"),
        "by somebody" => {
            let acts = vec![Call(format!("select * from {f}"), NONE), Call(format!("select {g} limit 1"), NONE)];
            with("set role pgflow_fuzz_somebody", acts, "reset role")
        }
        "with commits" => act(format!(
            "do $fuzz$ declare r record; begin for r in select * from {f} loop commit; end loop; \
             perform {g}; rollback; perform * from {f}; commit; end $fuzz$"
        )),
        "hostile search_path" => {
            let acts = vec![Call(format!("select * from {f}"), NONE), Call(format!("select * from {g}"), NONE)];
            with("set search_path = fuzz_hostile, pg_catalog", acts, "reset search_path")
        }
        "settings" => {
            let set: Vec<_> = (0..4).filter_map(|_| SETTINGS.choose(rng)).map(|s| format!("set {s}")).collect();
            with(&set.join("; "), act(format!("select * from {f}")), "reset all")
        }
        "timeout" => {
            let set = format!("set statement_timeout = {}", rng.random_range(1..6));
            let acts = (0..3).map(|_| Call(format!("select {f} from generate_series(1, 30)"), &["57014"]));
            // The timeout may also meet the end of itself.
            let resets = (0..6).map(|_| Try("reset statement_timeout".to_owned()));
            [Do(set)].into_iter().chain(acts).chain(resets).collect()
        }
        "deferred trigger" => {
            let later = |call: &str| Do(format!("insert into fuzz.deferred values ($fuzz$select * from {call}$fuzz$)"));
            vec![
                Do("begin".to_owned()),
                later(&f),
                later(&g),
                Call("commit".to_owned(), NONE),
                Try("delete from fuzz.deferred".to_owned()),
            ]
        }
        "error at the second row" => act(format!("select 1 / (row_number() over () - 2) from {f}"))
            .into_iter()
            .map(|call| match call {
                Call(sql, _) => Call(sql, &["22012"]),
                other => other,
            })
            .collect(),
        "two-phase" => {
            let prepare = vec![Call(format!("select * from {f}"), NONE), Try("prepare transaction 'fuzz'".to_owned())];
            within("begin", prepare, &format!("{end} prepared 'fuzz'"))
        }
        _ => act(format!("select * from {f}")),
    }
}
