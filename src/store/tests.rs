//! Tests of the border that need a server. Built into the library only for `cargo pgrx test`.

// pgrx wants the schema of test functions as an inline module.
#[pgrx::pg_schema]
mod tests {
    use pgrx::pg_sys::errcodes::PgSqlErrorCode;
    use pgrx::prelude::*;
    use pgrx::{IntoDatum, JsonB};

    use super::super::value::TaskReceipt;
    use super::super::{
        Instant, Json, JsonArray, RowType, Statement, enter, lock, role, subtransaction,
    };
    use crate::error::Error;
    use crate::model::RunId;

    static DIVIDE: Statement = Statement::new("divide", "select 10 / $1");
    static LOCKS_HELD: Statement = Statement::new(
        "locks_held",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    );
    static USER_AND_SETTING: Statement = Statement::new(
        "user_and_setting",
        "select current_user::text, current_setting('enable_seqscan')",
    );

    fn text(query: &str) -> String {
        Spi::get_one::<String>(query)
            .expect("the query runs")
            .expect("the result is not null")
    }

    /// The SQLSTATE, message, detail and hint of what `call` raises.
    fn error_of(call: &str) -> String {
        Spi::run(
        "create function pg_temp.error_of(call text) returns text language plpgsql as $$
         declare message text; detail text; hint text;
         begin
           execute call;
           return 'no error';
         exception when others then
           get stacked diagnostics message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
           return concat_ws(' | ', sqlstate, message, nullif(detail, ''), nullif(hint, ''));
         end $$",
    )
    .expect("the function is made");
        text(&format!(
            "select pg_temp.error_of({})",
            spi::quote_literal(call)
        ))
    }

    fn refusal() -> Error {
        Error::run_not_found("that")
    }

    fn json(value: &str) -> Json {
        let value = JsonB(serde_json::from_str(value).expect("valid JSON"));
        Json(value.into_datum().expect("a datum"))
    }

    /// As it is stored, without the header of its size.
    fn bytes(json: Json) -> Vec<u8> {
        // SAFETY: a jsonb is a varlena value.
        unsafe {
            let value = pg_sys::pg_detoast_datum(json.0.cast_mut_ptr());
            pgrx::varlena_to_byte_slice(value).to_vec()
        }
    }

    #[pg_test]
    fn an_unknown_flow_is_pt404_with_a_constant_message() {
        assert_eq!(
            error_of("select pgflow.run_flow('nope')"),
            "PT404 | flow not found | There is no flow \"nope\"."
        );
    }

    #[pg_test]
    fn a_conflict_is_pt409() {
        Spi::run("select pgflow.create_flow('f'); select pgflow.run_flow('f')").expect("a run");
        let error = error_of("select pgflow.delete_flow('f')");
        assert!(error.starts_with("PT409 | "), "{error}");
    }

    #[pg_test]
    fn a_null_argument_is_22004() {
        let error = error_of("select pgflow.run_flow(null)");
        assert!(
            error.starts_with("22004 | argument \"flow_slug\" must not be null"),
            "{error}"
        );
    }

    #[pg_test]
    fn an_error_of_postgres_keeps_its_sqlstate() {
        assert!(
            error_of("select pgflow.run_flow('f', '{')").starts_with("22P02 | "),
            "invalid JSON is PostgreSQL's to refuse"
        );
    }

    #[pg_test]
    fn rights_and_settings_hold_inside_and_are_given_back() {
        Spi::run(
            "create role stranger; grant usage on schema pgflow to stranger; set role stranger",
        )
        .expect("a role");
        let inside = enter(|session| {
            assert_eq!(role::name(session.caller), "stranger");
            USER_AND_SETTING.first(&[], |row| {
                Ok((row.get::<String>(1)?, row.get::<String>(2)?))
            })
        });
        let owner =
            text("select nspowner::regrole::text from pg_namespace where nspname = 'pgflow'");
        assert_eq!(inside, Some((owner, "off".to_owned())));
        assert_eq!(
            text("select current_user || ' ' || current_setting('enable_seqscan')"),
            "stranger on"
        );
    }

    #[pg_test]
    fn rights_and_settings_are_given_back_after_an_error() {
        error_of("select pgflow.run_flow('nope')");
        assert_eq!(
            text(
                "select (current_user = session_user)::text || ' ' || current_setting('enable_seqscan')"
            ),
            "true on"
        );
    }

    #[pg_test]
    fn an_expected_failure_is_undone_with_its_locks() {
        let run = RunId::new();
        let (outcome, held) = enter(|_| {
            let outcome =
                subtransaction::attempt(&[PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO], || {
                    lock::lock_runs([run]);
                    DIVIDE.first(&[&0], |row| row.get::<i32>(1))
                })?;
            Ok((outcome, LOCKS_HELD.first(&[], |row| row.get::<i64>(1))?))
        });
        assert_eq!(outcome, Err("division by zero".to_owned()));
        assert_eq!(held, Some(0));
    }

    #[pg_test]
    fn a_success_in_a_subtransaction_stays() {
        let outcome = enter(|_| {
            subtransaction::attempt(&[], || DIVIDE.first(&[&2], |row| row.get::<i32>(1)))
        });
        assert_eq!(outcome, Ok(Some(5)));
    }

    #[pg_test(error = "division by zero")]
    fn an_unexpected_failure_goes_on() {
        let _ = enter(|_| {
            subtransaction::attempt(&[subtransaction::LOCK_NOT_AVAILABLE], || {
                DIVIDE.first(&[&0], |row| row.get::<i32>(1))
            })
        });
    }

    #[pg_test]
    fn an_error_of_ours_undoes_a_subtransaction_too() {
        let held = enter(|_| {
            let outcome = subtransaction::attempt::<()>(&[], || {
                lock::lock_runs([RunId::new()]);
                Err(refusal())
            });
            assert_eq!(outcome, Err(refusal()));
            LOCKS_HELD.first(&[], |row| row.get::<i64>(1))
        });
        assert_eq!(held, Some(0));
    }

    #[pg_test]
    fn json_is_measured_without_being_read() {
        let small = json("[1]");
        let large = json(&format!("[\"{}\"]", "x".repeat(100_000)));
        assert!(small.size() < 100);
        assert!((100_000..100_100).contains(&large.size()));
        assert_eq!(JsonArray::of(small).len(), 1);
    }

    #[pg_test]
    fn rows_are_made_of_the_columns_of_their_type_and_no_others() {
        enter(|_| {
            let row_type = RowType::<TaskReceipt>::open()?;
            let (id, slug, status) = (RunId::new(), "s".to_owned(), None::<String>);
            let row = row_type.row(&[&id, &slug, &0, &true, &status, &status, &status]);
            assert!(row.is_ok());
            assert!(row_type.row(&[&id, &slug, &0]).is_err());
            assert!(
                row_type
                    .row(&[&id, &slug, &0_i64, &true, &status, &status, &status])
                    .is_err()
            );
            Ok(())
        });
    }

    #[pg_test]
    fn objects_are_stored_as_postgres_stores_them() {
        static BUILD: Statement = Statement::new(
            "build",
            "select jsonb_object_agg(n, v), jsonb_object_agg(n, v)::text from unnest($1::text[], $2::jsonb[]) o(n, v)",
        );
        let values = [
            "null",
            "true",
            "false",
            "0",
            "-1.50",
            "1e300",
            "\"\"",
            "\"text\"",
            "[]",
            "{}",
            "[1]",
            "[[\"a\", null], {\"b\": [1.5, {}]}]",
            "{\"\": 0, \"b\": {\"c\": \"d\"}}",
        ];
        // More members than share one offset, and names of all lengths modulo the alignment.
        for count in [0, 1, 2, 5, 15, 16, 17, 31, 32, 33, 64, 200] {
            let members: Vec<_> = (0..count)
                .map(|n| {
                    let name = format!("{}{n}", "n".repeat(n * 7 % 5));
                    (name, json(values[n % values.len()]))
                })
                .collect();
            let ours = Json::object(members.iter().map(|(n, v)| (n.as_str(), *v)).collect());
            let ours = ours.expect("a small object");
            let (names, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            let found = enter(|_| {
                BUILD.first(&[&names, &values], |row| {
                    Ok((row.keep::<Json>(1), row.opt::<String>(2)))
                })
            });
            let Some((Some(theirs), Some(text))) = found else {
                assert_eq!((count, bytes(ours)), (0, bytes(json("{}"))));
                continue;
            };
            assert_eq!(bytes(ours), bytes(theirs), "{text}");
        }
    }

    #[pg_test]
    fn a_compressed_value_becomes_a_member() {
        let long = format!("[\"{}\"]", "x".repeat(100_000));
        Spi::run(&format!("create table t as select '{long}'::jsonb as v")).expect("a table");
        static MEMBER: Statement = Statement::new("member", "select v from t");
        let object = enter(|_| MEMBER.first(&[], |row| Ok(Json::object(vec![("v", row.get(1)?)]))));
        let object = object.flatten().expect("an object");
        assert_eq!(bytes(object), bytes(json(&format!("{{\"v\": {long}}}"))));
    }

    #[pg_test]
    fn an_object_over_the_limit_is_not_built() {
        let half = json(&format!("[\"{}\"]", "x".repeat(130 << 20)));
        assert!(Json::object(vec![("a", half)]).is_some());
        assert!(Json::object(vec![("a", half), ("b", half)]).is_none());
    }

    #[pg_test]
    fn nodes_say_what_they_are() {
        let kinds = [
            ("null", "null", None),
            ("true", "boolean", Some("true")),
            ("12.25", "number", Some("12.25")),
            ("\"é\"", "string", Some("é")),
            ("[1, 2]", "array", None),
            ("{}", "object", None),
        ];
        let inside: Vec<_> = kinds.iter().map(|(value, ..)| *value).collect();
        let elements = json(&format!("[{}]", inside.join(","))).node().elements();
        for ((value, kind, text), element) in kinds.into_iter().zip(elements) {
            for node in [json(value).node(), element] {
                assert_eq!(
                    (node.kind(), node.text().as_deref()),
                    (kind, text),
                    "{value}"
                );
                assert_eq!(bytes(node.json()), bytes(json(value)));
            }
        }
        assert_eq!(json("[1, 2]").node().len(), 2);
        let mut names = Vec::new();
        json("{\"a\": [1], \"bb\": {\"c\": 2}}")
            .node()
            .members(|name, value| {
                names.push((name.to_vec(), value.kind()));
            });
        let expected = [(b"a".to_vec(), "array"), (b"bb".to_vec(), "object")];
        assert_eq!(names, expected);
    }

    #[pg_test]
    fn instants_cross_the_border() {
        static SECOND: Statement =
            Statement::new("second", "select timestamptz '1970-01-01 00:00:01+00'");
        static INFINITY: Statement = Statement::new("infinity", "select timestamptz 'infinity'");
        let read = |statement: &'static Statement| {
            enter(|_| statement.first(&[], |row| row.get::<Instant>(1)))
        };
        assert_eq!(read(&SECOND).map(Instant::unix_millis), Some(1000));
        assert_eq!(read(&INFINITY), Some(Instant::INFINITY));
    }

    #[pg_test]
    fn a_run_lock_is_what_the_sql_functions_say() {
        let run = RunId::new();
        let key = text(&format!("select pgflow_locks.run_key('{run}')::text"));
        assert_eq!(key, lock::run_key(run).to_string());
        assert_eq!(
            text("select pgflow_locks.queue_key('q')::text"),
            lock::queue_key("q").to_string()
        );
    }

    #[pg_test]
    fn a_kept_plan_survives_a_change_of_its_table() {
        static COUNT: Statement =
            Statement::new("count_flows", "select count(*) from pgflow.flows");
        let count = || enter(|_| COUNT.first(&[], |row| row.get::<i64>(1)));
        assert_eq!(count(), Some(0));
        Spi::run("alter table pgflow.flows add column extra int; select pgflow.create_flow('f')")
            .expect("the table is changed");
        assert_eq!(count(), Some(1));
    }
}
