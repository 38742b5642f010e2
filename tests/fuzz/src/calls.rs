//! Every public function, called with every kind of value in every way.
//!
//! The functions are those that the catalog lists, so a new one is called without a change here. What may come of a
//! call is what the contract lists; in between nothing may be left behind: no setting, right or lock, no warning of
//! the server, and all of the engine's invariants hold.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::report::{self, Report};
use crate::server::{REFUSALS, Refusal, Server};
use crate::values::{self, Known};
use crate::ways::{Act, Made, WAYS, script};

const TARGET: &str = "calls";

pub struct Argument {
    pub name: String,
    pub kind: String,
    pub default: Option<String>,
}

pub struct Function {
    pub name: String,
    /// With its schema.
    pub path: String,
    pub arguments: Vec<Argument>,
    /// Whether a column may have its result.
    pub is_value: bool,
}

pub fn functions(server: &mut Server) -> Result<Vec<Function>, Refusal> {
    let rows = server.rows(
        "select p.proname, p.oid::regproc, t.typtype <> 'p', a.name, format_type(a.type, null), pg_get_function_arg_default(p.oid, a.n::int)
         from pg_proc p join pg_type t on t.oid = p.prorettype
         left join lateral (select n, type, p.proargnames[n] as name from unnest(p.proargtypes) with ordinality a (type, n)) a on true
         where p.pronamespace::regnamespace::text in ('pgflow', 'pgflow_locks') and p.prokind = 'f'
         order by p.oid::regprocedure::text, a.n",
    )?;
    let mut functions: Vec<Function> = Vec::new();
    for row in rows {
        let Ok([Some(name), Some(path), is_value, argument, kind, default]) = <[Option<String>; 6]>::try_from(row)
        else {
            continue;
        };
        if functions.last().is_none_or(|last| last.path != path) {
            let is_value = is_value.as_deref() == Some("t");
            functions.push(Function { name, path, arguments: vec![], is_value });
        }
        if let (Some(function), Some(name), Some(kind)) = (functions.last_mut(), argument, kind) {
            function.arguments.push(Argument { name, kind, default });
        }
    }
    Ok(functions)
}

pub fn fuzz(server: &mut Server, seed: u64, calls: u64, report: &mut Report) -> Result<(), Refusal> {
    let functions = functions(server)?;
    for problem in values::broken(server) {
        report.fail(TARGET, "values", &problem, "");
    }
    start_over(server)?;
    for (name, text) in report::files(TARGET) {
        let acts = text.split(";\n").filter(|sql| !sql.trim().is_empty());
        run(
            server,
            report,
            &name,
            "corpus",
            acts.map(|sql| Act::Call(sql.to_owned(), &["22012", "25P02", "25006"])).collect(),
        )?;
    }
    let mut known = Known::read(server)?;
    for n in 0..calls {
        if n % 40 == 0 {
            if n % 400 == 0 {
                start_over(server)?;
            }
            known = Known::read(server)?;
        }
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(n).rotate_left(24));
        let rng = &mut rng;
        // Every function in every way, again and again.
        let count = functions.len() as u64;
        let function = &functions[usize::try_from(n % count).unwrap_or(0)];
        let way = WAYS[usize::try_from(n / count + n).unwrap_or(0) % WAYS.len()];
        let made = make(rng, &known, function);
        let another = functions.choose(rng).unwrap_or(function);
        let other = make(rng, &known, another);
        let name = format!("found-{}.sql", seed.wrapping_add(n));
        let acts = script(rng, way, &made, &other);
        run(server, report, &name, way, acts)?;
        if n % 40 == 39 {
            for problem in server.integrity()? {
                report.fail(TARGET, &name, &format!("check_integrity: {problem}"), "");
            }
        }
    }
    server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")
}

fn start_over(server: &mut Server) -> Result<(), Refusal> {
    server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")?;
    server.execute(include_str!("../sql/flows.sql"))
}

fn make<'a>(rng: &mut StdRng, known: &Known, function: &'a Function) -> Made<'a> {
    let task = known.task(rng);
    let hostility = *[0.0, 0.1, 0.3, 0.7].choose(rng).unwrap_or(&0.5);
    let values = function.arguments.iter().map(|a| known.value(rng, a, task, hostility)).collect();
    Made { function, values }
}

/// Runs a script and judges what came of it.
fn run(server: &mut Server, report: &mut Report, name: &str, way: &str, acts: Vec<Act>) -> Result<(), Refusal> {
    let whole = |acts: &[Act]| {
        let texts = acts.iter().map(|act| match act {
            Act::Do(sql) | Act::Call(sql, _) | Act::Try(sql) => format!("{};\n", sql.trim_end().trim_end_matches(';')),
        });
        texts.collect::<String>()
    };
    let mut problems = Vec::new();
    let mut refused = false;
    for act in &acts {
        let (sql, result) = match act {
            Act::Do(sql) | Act::Call(sql, _) | Act::Try(sql) => (sql, server.execute(sql)),
        };
        let Err(refusal) = result else { continue };
        let code = refusal.code.as_str();
        let fine = !refusal.fatal
            && match act {
                // After an error everything is refused until the transaction ends.
                _ if refused && code == "25P02" => true,
                Act::Do(_) => false,
                Act::Try(_) => code != "XX000",
                Act::Call(_, also) => REFUSALS.contains(&code) || also.contains(&code) || (refused && code == "34000"),
            };
        refused = true;
        report.outcome(&refusal.code);
        if !fine {
            problems.push(format!("{way}: {refusal} at: {}", crate::server::cut(sql, 500)));
        }
        if refusal.fatal {
            std::thread::sleep(std::time::Duration::from_secs(3));
            server.reconnect().map_err(|e| Refusal::from(&e))?;
            break;
        }
    }
    if !refused {
        report.outcome("accepted");
    }
    problems.extend(
        server
            .drift()
            .unwrap_or_else(|refusal| vec![format!("no answer: {refusal}")])
            .into_iter()
            .map(|p| format!("{way}: {p}")),
    );
    if problems.is_empty() {
        report.pass();
        return Ok(());
    }
    report.fail(TARGET, name, &problems.join("; "), &whole(&acts));
    server.reconnect().map_err(|e| Refusal::from(&e))
}
