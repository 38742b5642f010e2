//! Values for arguments, as SQL expressions: ordinary ones, so that calls get somewhere, and hostile ones.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::calls::Argument;
use crate::server::{Refusal, Server, literal};

const TEXTS: &[&str] = &[
    "''::text",
    "' '::text",
    "'fuzz_chain'::text",
    "'fuzz_map'::text",
    "'FUZZ_CHAIN'::text",
    "'a'::text",
    "'m'::text",
    "'run'::text",
    "'single'::text",
    "'map'::text",
    "'skip-cascade'::text",
    "'external'::text",
    "'manual'::text",
    "'%s %n %d %1$s %%'::text",
    "'''; drop schema pgflow cascade; --'::text",
    "'\"quoted\"'::text",
    "E'\\n\\r\\t\\x01\\x7f\\\\'::text",
    "'🦆'::text",
    "U&'\\0085\\2028\\202E\\FEFF'::text",
    "repeat('x', 127)::text",
    "repeat('x', 128)::text",
    "repeat('x', 129)::text",
    "repeat('ä', 128)::text",
    "repeat('k', 1024)::text",
    "repeat('k', 1025)::text",
    "repeat('long ', 200000)::text",
    "'fuzz_nothing'::varchar(20)::text",
    "(select t from fuzz.short)",
    "(select t from fuzz.flow)",
    "(select t from fuzz.external)",
];

const JSONS: &[&str] = &[
    "'null'::jsonb",
    "'{}'::jsonb",
    "'[]'::jsonb",
    "'[1, 2, 3]'::jsonb",
    "'{\"ok\": true}'::jsonb",
    "'\"text\"'::jsonb",
    "'-0'::jsonb",
    "'1e1000'::jsonb",
    "'[[], {}, [null]]'::jsonb",
    "'{\"\": {\"\": \"\"}}'::jsonb",
    "(repeat('[', 1000) || repeat(']', 1000))::jsonb",
    "(repeat('{\"a\": ', 1000) || '1' || repeat('}', 1000))::jsonb",
    "to_jsonb(repeat('x', 1000000))",
    "(select jsonb_agg(n) from generate_series(1, 2000) n)",
    "(select jsonb_object_agg(n, n) from generate_series(1, 2000) n)",
    "(select j from fuzz.short)",
    "(select j from fuzz.compressed)",
    "(select j from fuzz.external)",
    "(select j from fuzz.random)",
    "'{\"flow_slug\": \"fuzz_new\", \"steps\": [{\"step_slug\": \"a\"}]}'::jsonb",
    "'{\"flow_slug\": \"fuzz_chain\", \"steps\": [{\"step_slug\": \"c\"}, {\"step_slug\": \"a\", \"deps_slugs\": [\"c\"]}]}'::jsonb",
    "'[{\"run_id\": \"00000000-0000-7000-8000-000000000000\", \"step_slug\": \"a\"}]'::jsonb",
    "'[{\"run_id\": 1}]'::jsonb",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "10",
    "1000",
    "10000",
    "10001",
    "1581120000",
    "1581120001",
    "2147483647",
    "-2147483648",
];

const BIGINTS: &[&str] =
    &["0", "1", "-1", "9007199254740991", "9007199254740992", "9223372036854775807", "-9223372036854775808"];

const INTERVALS: &[&str] = &[
    "'0'::interval",
    "'1 second'::interval",
    "'-1 second'::interval",
    "'1 month -30 days'::interval",
    "'100 years'::interval",
    "'178000000 years'::interval",
    "'-178000000 years'::interval",
    "'2147483647 days'::interval",
    "make_interval(months => 2147483647, days => 2147483647)",
    "'9223372036854775 milliseconds'::interval",
];

const TIMES: &[&str] = &[
    "'infinity'::timestamptz",
    "'-infinity'::timestamptz",
    "'294276-12-31 23:59:59.999999+00'::timestamptz",
    "'4713-01-02 BC'::timestamptz",
    "'1970-01-01'::timestamptz",
    "pg_catalog.clock_timestamp()",
    "pg_catalog.clock_timestamp() + interval '1 hour'",
    "'epoch'::timestamptz - interval '1 microsecond'",
];

const TEXT_ARRAYS: &[&str] = &[
    "'{}'::text[]",
    "'{a}'::text[]",
    "'{a,b}'::text[]",
    "'{b,b,m}'::text[]",
    "'{null}'::text[]",
    "'{a,null,b}'::text[]",
    "'[2:3]={a,b}'::text[]",
    "'[-1:0]={a,null}'::text[]",
    "'{{a,b},{c,d}}'::text[]",
    "'{{{a}}}'::text[]",
    "array_fill('a'::text, array[10000])",
    "array[repeat('x', 1000000), '']",
    "fuzz.expanded('{a,b}'::text[])",
    "fuzz.expanded('{m,null}'::text[])",
    "(select ta from fuzz.short)",
    "(select ta from fuzz.random)",
];

const JSON_ARRAYS: &[&str] = &[
    "'{}'::jsonb[]",
    "array['{}', '[]']::jsonb[]",
    "array['[1, 2]']::jsonb[]",
    "array['{}', null]::jsonb[]",
    "'{null}'::jsonb[]",
    "array[array['1', '[2]'], array['3', 'null']]::jsonb[]",
    "'[5:6]={1,2}'::jsonb[]",
    "array_fill('[]'::jsonb, array[300])",
    "array_fill(null::jsonb, array[300])",
    "array_fill('1'::jsonb, array[2, 2, 2, 2, 2, 2])",
    "array[to_jsonb(repeat('x', 1000000))]",
    "fuzz.expanded(array['{}', '[3]']::jsonb[])",
    "(select ja from fuzz.short)",
    "(select ja from fuzz.random)",
];

/// A task as it stands, so that the arguments of a call fit together.
#[derive(Default)]
pub struct Known {
    tasks: Vec<[String; 5]>,
    runs: Vec<String>,
}

impl Known {
    pub fn read(server: &mut Server) -> Result<Known, Refusal> {
        let tasks = server.rows(
            "(select run_id, step_slug, task_index, coalesce(lease, 1), queue from pgflow.live_tasks order by random() limit 60)
             union all (select run_id, step_slug, 0, 1, flow_slug from pgflow.step_states order by random() limit 30)",
        )?;
        let runs = server.rows("select run_id from pgflow.runs order by random() limit 30")?;
        let all =
            |row: Vec<Option<String>>| <[String; 5]>::try_from(row.into_iter().flatten().collect::<Vec<_>>()).ok();
        Ok(Known {
            tasks: tasks.into_iter().filter_map(all).collect(),
            runs: runs.into_iter().flatten().flatten().collect(),
        })
    }

    pub fn task(&self, rng: &mut StdRng) -> Option<&[String; 5]> {
        self.tasks.choose(rng)
    }

    /// An expression for an argument: one that fits the task, the default, or with this probability a hostile one.
    pub fn value(&self, rng: &mut StdRng, argument: &Argument, task: Option<&[String; 5]>, hostility: f64) -> String {
        let Argument { name, kind, default } = argument;
        let is_hostile = rng.random_bool(hostility);
        if is_hostile && rng.random_bool(0.1) {
            return format!("null::{kind}");
        }
        if let Some([run, step, index, lease, queue]) = task
            && !is_hostile
        {
            match name.as_str() {
                "run_id" => return format!("{}::uuid", literal(run)),
                "step_slug" => return format!("{}::text", literal(step)),
                "from_step_slugs" => return format!("array[{}]", literal(step)),
                "task_index" => return index.clone(),
                "lease" => return format!("{lease}::bigint"),
                "queue" => return format!("{}::text", literal(queue)),
                "role" => return "'pgflow_fuzz_somebody'::name".to_owned(),
                "capability" => {
                    let all = ["'client'", "'worker'", "'author'", "'operator'"];
                    return all.choose(rng).copied().unwrap_or("null").to_owned();
                }
                "flow_slug" => return format!("{}::text", literal(self.flow(rng))),
                "lease_seconds" | "retry_after" => return rng.random_range(0..3).to_string(),
                "results" => return results(rng, run, step, index, lease),
                _ => {}
            }
        }
        if let (Some(default), false) = (default, is_hostile) {
            return default.clone();
        }
        let choose = |rng: &mut StdRng, list: &[&str]| list.choose(rng).copied().unwrap_or("null").to_owned();
        match kind.as_str() {
            "text" | "character varying" | "name" | "cstring" => choose(rng, TEXTS),
            "jsonb" | "json" => choose(rng, JSONS),
            "smallint" | "integer" => format!("({})", choose(rng, INTEGERS)),
            "bigint" | "numeric" => format!("({})", choose(rng, BIGINTS)),
            "boolean" => choose(rng, &["true", "false"]),
            "interval" => choose(rng, INTERVALS),
            "timestamp with time zone" => choose(rng, TIMES),
            "text[]" => choose(rng, TEXT_ARRAYS),
            "jsonb[]" => choose(rng, JSON_ARRAYS),
            "double precision" | "real" => {
                format!("'{}'", choose(rng, &["NaN", "Infinity", "-Infinity", "0", "-0", "1e300", "-1e-300"]))
            }
            "uuid" => match self.runs.choose(rng) {
                Some(run) if rng.random_bool(0.6) => format!("{}::uuid", literal(run)),
                _ => choose(
                    rng,
                    &[
                        "'00000000-0000-0000-0000-000000000000'::uuid",
                        "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid",
                        "'00000000-0000-7000-8000-000000000000'::uuid",
                    ],
                ),
            },
            "uuid[]" => format!("array['00000000-0000-0000-0000-000000000000', null, {}]::uuid[]", self.some_run(rng)),
            "integer[]" | "bigint[]" => choose(rng, &["'{}'", "'{null}'", "'{0,-1}'", "'[3:4]={1,2}'", "'{{1},{2}}'"]),
            "oid" | "regrole" | "regclass" => choose(rng, &["0", "10", "4294967295"]),
            // A type that is new: it gets nulls until somebody lists values.
            other => format!("null::{other}"),
        }
    }

    fn some_run(&self, rng: &mut StdRng) -> String {
        self.runs.choose(rng).map_or_else(|| "null".to_owned(), |run| literal(run))
    }

    fn flow(&self, rng: &mut StdRng) -> &'static str {
        ["fuzz_chain", "fuzz_map", "fuzz_people", "fuzz_nothing", "fuzz_draft", "fuzz_new"]
            .choose(rng)
            .copied()
            .unwrap_or("")
    }
}

fn results(rng: &mut StdRng, run: &str, step: &str, index: &str, lease: &str) -> String {
    let verdict = [
        "'output', array[1, 2]",
        "'output', null",
        "'release', true",
        "'error_message', 'no', 'retry_after', 0",
        "'error_message', repeat('no', 1000000), 'retryable', false",
    ];
    let verdict = verdict.choose(rng).unwrap_or(&"");
    let element = format!(
        "jsonb_build_object('run_id', {}, 'step_slug', {}, 'task_index', {index}, 'lease', {lease}, {verdict})",
        literal(run),
        literal(step)
    );
    format!("jsonb_build_array({})", vec![element; rng.random_range(1..3)].join(", "))
}

/// Expressions that PostgreSQL itself refuses; there should be none.
pub fn broken(server: &mut Server) -> Vec<String> {
    let lists = [TEXTS, JSONS, INTEGERS, BIGINTS, INTERVALS, TIMES, TEXT_ARRAYS, JSON_ARRAYS];
    let values = lists.into_iter().flatten();
    values
        .filter_map(|value| server.execute(&format!("select {value}")).err().map(|e| format!("{value}: {e}")))
        .collect()
}
