use proptest::prelude::*;

use super::*;

fn problems(json: &str) -> Vec<String> {
    match read(json) {
        Ok(document) => panic!("accepted with {} steps: {json:.200}", document.steps.len()),
        Err(faulty) => faulty.problems.0.iter().map(ToString::to_string).collect(),
    }
}

/// The problems of a flow with these steps.
fn of_steps(steps: &str) -> Vec<String> {
    problems(&format!(r#"{{"steps": {steps}, "flow_slug": "f"}}"#))
}

fn step<'a>(document: &'a Document, slug: &str) -> &'a StepShape {
    let mut steps = document.steps.iter();
    steps.find(|step| step.step_slug == slug).unwrap()
}

#[test]
fn a_flow_takes_the_defaults_of_create_flow_and_add_step() {
    let flow = read(r#"{"steps": [{"step_slug": "a"}], "flow_slug": "f"}"#).unwrap();
    assert_eq!(flow.options, Options::default());
    assert_eq!(flow.steps, [StepShape::new("f", "a")]);
    assert_eq!(flow.description, None);
    let nulls = r#"{"steps": [{"step_slug": "a", "queue": null, "deps_slugs": null, "step_type": null,
        "executor": null, "max_attempts": null, "required_input_pattern": null, "when_unmet": null}],
        "flow_slug": "f", "timeout": null, "executor": null, "description": null}"#;
    assert_eq!(read(nulls).unwrap(), flow);
    assert_eq!(
        read(r#"{"steps": [], "flow_slug": "f"}"#).unwrap().steps,
        []
    );
}

#[test]
fn the_flows_executor_and_target_are_the_defaults_of_its_steps() {
    let flow = read(
        r#"{"flow_slug": "f", "executor": "http", "target": "https://a", "steps": [
            {"step_slug": "a"}, {"step_slug": "b", "target": "https://b"},
            {"step_slug": "c", "executor": "timer"}, {"step_slug": "d", "executor": "worker", "target": null}]}"#,
    )
    .unwrap();
    let of = |slug| {
        (
            step(&flow, slug).executor.as_str(),
            step(&flow, slug).target.as_deref(),
        )
    };
    assert_eq!(of("a"), ("http", Some("https://a")));
    assert_eq!(of("b"), ("http", Some("https://b")));
    // What one executor calls means nothing to another.
    assert_eq!(of("c"), ("timer", None));
    assert_eq!(of("d"), ("worker", None));
}

#[test]
fn everything_is_read_and_nothing_is_rounded() {
    let flow = read(
        r#"{"flow_slug": "f", "max_attempts": 7, "base_delay": 0, "timeout": 61.0, "max_delay": 10, "description": "d\u00e4",
        "output_step_slug": "m", "steps": [{"step_slug": "m", "deps_slugs": ["z", "a"], "step_type": "map", "map_over": "z",
        "queue": "q", "start_mode": "manual", "max_attempts": 1, "base_delay": 2, "timeout": 3, "start_delay": 4,
        "required_input_pattern": {"n": 1.10, "big": 1000000000000000000000000000000000000000001},
        "forbidden_input_pattern": {}, "when_unmet": "fail", "when_exhausted": "skip-cascade", "executor": "external",
        "target": "paid"}, {"step_slug": "a"}, {"step_slug": "z"}]}"#,
    )
    .unwrap();
    assert_eq!(flow.description.as_deref(), Some("dä"));
    let Options {
        max_attempts,
        base_delay,
        timeout,
        max_delay,
        ..
    } = flow.options;
    assert_eq!(
        (max_attempts, base_delay, timeout, max_delay),
        (7, 0, 61, 10)
    );
    assert_eq!(flow.options.output_step_slug.as_deref(), Some("m"));
    let m = step(&flow, "m");
    assert_eq!(m.deps_slugs, ["a", "z"]);
    assert_eq!(
        m.required_input_pattern.as_deref(),
        Some(r#"{"n": 1.10, "big": 1000000000000000000000000000000000000000001}"#)
    );
    assert_eq!(
        (m.max_attempts, m.base_delay, m.timeout, m.start_delay),
        (Some(1), Some(2), Some(3), Some(4))
    );
    assert_eq!(
        (
            m.queue.as_str(),
            m.start_mode.as_str(),
            m.when_exhausted.as_str()
        ),
        ("q", "manual", "skip-cascade")
    );
}

#[test]
fn one_problem_each_with_its_path() {
    let huge = "9".repeat(100);
    for (json, expected) in [
        ("null", "$: null is not an object"),
        ("[]", "$: [] is not an object"),
        (r#"{"flow_slug": "f"}"#, "$.steps: missing"),
        (
            r#"{"flow_slug": "a b", "steps": [{"step_slug": "a"}]}"#,
            r#"$.flow_slug: "a b" is not a slug"#,
        ),
        (
            r#"{"flow_slug": 1, "steps": [{"step_slug": "a"}]}"#,
            "$.flow_slug: 1 is not a string",
        ),
        (
            r#"{"flow_slug": "f", "steps": {}}"#,
            "$.steps: {} is not an array",
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "colour": 1}"#,
            "$.colour: unknown field of a flow",
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "the colour": 1}"#,
            r#"$["the colour"]: unknown field of a flow"#,
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "max_attempts": "3"}"#,
            r#"$.max_attempts: "3" is not a whole number"#,
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "timeout": 0}"#,
            "$.timeout: 0 is less than 1",
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "executor": "x"}"#,
            r#"$.executor: unknown executor "x""#,
        ),
        (
            r#"{"flow_slug": "f", "steps": [], "output_step_slug": "-"}"#,
            r#"$.output_step_slug: "-" is not a slug"#,
        ),
    ] {
        assert_eq!(problems(json), [expected], "{json}");
    }
    for (step, expected) in [
        ("1".to_owned(), "$.steps[0]: 1 is not an object"),
        (
            r#"{"deps_slugs": []}"#.into(),
            "$.steps[0].step_slug: missing",
        ),
        (
            r#"{"step_slug": ""}"#.into(),
            r#"$.steps[0].step_slug: "" is not a slug"#,
        ),
        (
            r#"{"step_slug": "run"}"#.into(),
            r#"$.steps[0].step_slug: "run" is reserved"#,
        ),
        (
            r#"{"step_slug": "a", "colour": {}}"#.into(),
            "$.steps[0].colour: unknown field of a step",
        ),
        (
            r#"{"step_slug": "a", "timeout": 1.5}"#.into(),
            "$.steps[0].timeout: 1.5 is not a whole number",
        ),
        (
            r#"{"step_slug": "a", "timeout": -1}"#.into(),
            "$.steps[0].timeout: -1 is less than 1",
        ),
        (
            r#"{"step_slug": "a", "timeout": 2147483648}"#.into(),
            "$.steps[0].timeout: 2147483648 is not within the range of integers",
        ),
        (
            format!(r#"{{"step_slug": "a", "timeout": {huge}}}"#),
            &format!(
                "$.steps[0].timeout: {}… (100 bytes) is not within the range of integers",
                &huge[..64]
            ),
        ),
        (
            r#"{"step_slug": "a", "timeout": true}"#.into(),
            "$.steps[0].timeout: true is not a whole number",
        ),
        (
            r#"{"step_slug": "a", "deps_slugs": "b"}"#.into(),
            r#"$.steps[0].deps_slugs: "b" is not an array"#,
        ),
        (
            r#"{"step_slug": "a", "deps_slugs": [null]}"#.into(),
            "$.steps[0].deps_slugs[0]: null is not a string",
        ),
        (
            r#"{"step_slug": "a", "deps_slugs": ["b"]}"#.into(),
            r#"$.steps[0].deps_slugs[0]: unknown dep "b""#,
        ),
        (
            r#"{"step_slug": "a", "deps_slugs": ["a"]}"#.into(),
            "$.steps[0].deps_slugs[0]: cycle a -> a",
        ),
        (
            r#"{"step_slug": "a", "map_over": "b"}"#.into(),
            r#"$.steps[0].map_over: "b" on a step that is no map"#,
        ),
        (
            r#"{"step_slug": "a", "required_input_pattern": [1]}"#.into(),
            "$.steps[0].required_input_pattern: [1] is not a JSON object",
        ),
        (
            r#"{"step_slug": "a", "executor": "sql"}"#.into(),
            r#"$.steps[0].target: missing: executor "sql" needs a function"#,
        ),
        (
            r#"{"step_slug": "a", "queue": ""}"#.into(),
            r#"$.steps[0].queue: "" is not the name of a queue"#,
        ),
    ] {
        assert_eq!(of_steps(&format!("[{step}]")), [expected], "{step}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(
        r#"{"steps": [
            {"step_slug": "a", "deps_slugs": ["b"]},
            {"step_slug": "b", "deps_slugs": ["a", "nothing"]},
            {"step_slug": "b"},
            {"step_slug": "c", "deps_slugs": [1, "a", "a"], "executor": "magic"},
            {"deps_slugs": []},
            {"step_slug": "m", "step_type": "map", "deps_slugs": ["a", "c"]}], "timeout": "long", "flow_slug": "run"}"#,
    );
    assert_eq!(
        found,
        [
            r#"$.flow_slug: "run" is reserved"#,
            r#"$.timeout: "long" is not a whole number"#,
            "$.steps[3].deps_slugs[0]: 1 is not a string",
            r#"$.steps[3].deps_slugs[2]: duplicate dep "a""#,
            r#"$.steps[3].executor: unknown executor "magic""#,
            "$.steps[4].step_slug: missing",
            "$.steps[5].map_over: missing on a map step with 2 deps",
            r#"$.steps[2].step_slug: duplicate step "b""#,
            r#"$.steps[1].deps_slugs[1]: unknown dep "nothing""#,
            "$.steps[0].deps_slugs[0]: cycle a -> b -> a",
        ]
    );
}

#[test]
fn size_is_limited_and_depth_is_not() {
    let steps = |n: usize| {
        let steps: Vec<_> = (0..n)
            .map(|n| format!(r#"{{"step_slug": "s{n}"}}"#))
            .collect();
        format!("[{}]", steps.join(", "))
    };
    let flow = |steps: &str| format!(r#"{{"steps": {steps}, "flow_slug": "f"}}"#);
    assert_eq!(read(&flow(&steps(20_000))).unwrap().steps.len(), 20_000);
    assert_eq!(
        of_steps(&steps(20_001)),
        ["$.steps: 20001 steps are more than 20000"]
    );
    let deep = format!(
        "{}{}",
        r#"{"a": "#.repeat(5_000),
        "1".to_owned() + &"}".repeat(5_000)
    );
    let step = format!(r#"[{{"step_slug": "a", "required_input_pattern": {deep}}}]"#);
    assert_eq!(
        read(&flow(&step)).unwrap().steps[0]
            .required_input_pattern
            .as_deref(),
        Some(deep.as_str())
    );
}

/// Edges that point from lower to higher steps, and an order in which the document lists the steps.
fn dag() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<usize>)> {
    (1..30_usize).prop_flat_map(|n| {
        let edges = prop::collection::btree_set((0..n, 0..n), 0..n * 2);
        let deps = edges.prop_map(move |edges| {
            let mut deps = vec![Vec::new(); n];
            for (a, b) in edges.into_iter().filter(|(a, b)| a < b) {
                deps[b].push(a);
            }
            deps
        });
        (deps, Just((0..n).collect::<Vec<_>>()).prop_shuffle())
    })
}

fn document(deps: &[Vec<usize>], order: &[usize]) -> String {
    let steps: Vec<_> = order
        .iter()
        .map(|&n| {
            let deps: Vec<_> = deps[n].iter().map(|dep| format!("s{dep}")).collect();
            serde_json::json!({"step_slug": format!("s{n}"), "deps_slugs": deps})
        })
        .collect();
    serde_json::json!({"flow_slug": "f", "steps": steps}).to_string()
}

proptest! {
    #[test]
    fn a_dag_is_accepted_in_every_order_of_steps((deps, order) in dag()) {
        let flow = read(&document(&deps, &order)).unwrap();
        let slugs: Vec<_> = order.iter().map(|n| format!("s{n}")).collect();
        prop_assert!(flow.steps.iter().map(|step| &step.step_slug).eq(&slugs));
        for (step, &n) in flow.steps.iter().zip(&order) {
            let mut expected: Vec<_> = deps[n].iter().map(|dep| format!("s{dep}")).collect();
            expected.sort();
            prop_assert_eq!(&step.deps_slugs, &expected);
        }
    }

    #[test]
    fn a_back_edge_is_reported_as_a_cycle((deps, order) in dag(), pick in any::<prop::sample::Index>()) {
        let edges: Vec<_> = deps.iter().enumerate()
            .flat_map(|(to, from)| from.iter().map(move |&from| (from, to))).collect();
        prop_assume!(!edges.is_empty());
        let (from, to) = edges[pick.index(edges.len())];
        let mut deps = deps;
        deps[from].push(to);
        let found = problems(&document(&deps, &order));
        prop_assert_eq!(found.len(), 1);
        let (path, cycle) = found[0].split_once(": cycle ").unwrap();
        let nodes: Vec<usize> = cycle.split(" -> ").map(|slug| slug[1..].parse().unwrap()).collect();
        prop_assert_eq!(nodes.first(), nodes.last());
        prop_assert!(nodes.len() > 2);
        for pair in nodes.windows(2) {
            prop_assert!(deps[pair[1]].contains(&pair[0]));
        }
        // The path names the dep that closes the cycle.
        let (step, dep) = path.strip_prefix("$.steps[").unwrap().split_once("].deps_slugs[").unwrap();
        let step = order[step.parse::<usize>().unwrap()];
        prop_assert_eq!(step, nodes[0]);
        prop_assert_eq!(deps[step][dep.strip_suffix(']').unwrap().parse::<usize>().unwrap()], nodes[nodes.len() - 2]);
    }

    #[test]
    fn no_document_is_too_odd_to_be_refused(json in r#"[\[\]{}",:a-c0-9. ]{0,40}"#) {
        let _ = read(&json);
    }
}
