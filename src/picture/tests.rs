//! What holds for every picture.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::layout::{Layout, Rect, Size};
use super::{Executor, MOST_STEPS, Picture, Run, State, Status, Step, mermaid, svg};

fn step(slug: &str, deps: &[usize]) -> Step {
    Step {
        slug: slug.to_owned(),
        deps: deps.to_vec(),
        ..Step::default()
    }
}

fn state(status: Status) -> State {
    State {
        status,
        initial_tasks: Some(1),
        attempts: 1,
        ..State::default()
    }
}

fn flow(steps: Vec<Step>) -> Picture {
    Picture {
        flow_slug: "f".to_owned(),
        version: 1,
        dep_count: steps.iter().map(|step| step.deps.len()).sum(),
        steps,
        run: None,
    }
}

fn run(steps: Vec<Step>, status: Status) -> Picture {
    let run = Run {
        run_id: "01a2276e-6ebd-70c8-8a56-2fdeeed3177e".to_owned(),
        status,
        error_message: None,
        took: Some(1_500_000),
    };
    Picture {
        run: Some(run),
        ..flow(steps)
    }
}

/// Parses the document, and sees that it is harmless and by itself.
fn parse(text: &str) -> roxmltree::Document<'_> {
    let document = roxmltree::Document::parse(text).expect("well-formed XML");
    let mut ids = HashSet::new();
    let mut uses = Vec::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            [
                "svg", "title", "desc", "style", "defs", "symbol", "g", "rect", "path", "text",
                "use", "circle", "ellipse"
            ]
            .contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            match attribute.name() {
                "id" => assert!(ids.insert(attribute.value()), "{attribute:?} twice"),
                "href" => uses.push(
                    attribute
                        .value()
                        .strip_prefix('#')
                        .expect("a reference within"),
                ),
                "d" | "x" | "y" | "width" | "height" => {
                    assert!(
                        !attribute.value().contains("NaN") && !attribute.value().contains("inf")
                    );
                }
                _ => {}
            }
        }
    }
    assert!(uses.iter().all(|id| ids.contains(id)), "{uses:?}");
    document
}

/// All that the document says.
fn said(text: &str) -> String {
    (parse(text).descendants())
        .filter(|node| node.is_text() && !node.parent().is_some_and(|of| of.has_tag_name("style")))
        .filter_map(|node| node.text().map(|text| format!("{text}\n")))
        .collect()
}

fn overlap(a: Rect, b: Rect) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/// What holds for every layout.
fn check(layout: &Layout, sizes: &[Size], deps: &[Vec<usize>]) {
    let inside = |x: f64, y: f64| {
        (-0.01..=layout.size.width + 0.01).contains(&x)
            && (-0.01..=layout.size.height + 0.01).contains(&y)
    };
    for (n, node) in layout.nodes.iter().enumerate() {
        assert_eq!((node.width, node.height), (sizes[n].width, sizes[n].height));
        assert!(inside(node.x, node.y) && inside(node.x + node.width, node.y + node.height));
    }
    // Sorted, so that only neighbours are compared.
    let mut by_left: Vec<Rect> = layout.nodes.clone();
    by_left.sort_by(|a, b| a.x.total_cmp(&b.x));
    for (n, &node) in by_left.iter().enumerate() {
        for &other in by_left[n + 1..]
            .iter()
            .take_while(|other| other.x < node.x + node.width)
        {
            assert!(!overlap(node, other), "{node:?} {other:?}");
        }
    }
    for (node, of_node) in deps.iter().enumerate() {
        for &dep in of_node {
            assert!(
                layout.layer[dep] < layout.layer[node],
                "a line of {node} leads up"
            );
        }
    }
    // The straight parts of lines pass no node; the curves are between layers, where there is none.
    let thin = |a: super::layout::Point, b: super::layout::Point| Rect {
        x: a.x.min(b.x) + 0.01,
        y: a.y.min(b.y) + 0.01,
        width: (a.x - b.x).abs() - 0.02,
        height: (a.y - b.y).abs() - 0.02,
    };
    for line in &layout.lines {
        for part in [thin(line.from, line.leaves), thin(line.arrives, line.to)] {
            let long = if layout.goes_right {
                part.width
            } else {
                part.height
            };
            if long <= 0.0 {
                continue;
            }
            assert!(inside(part.x, part.y));
            for &node in &layout.nodes {
                assert!(!overlap(part, node), "{part:?} passes {node:?}");
            }
        }
    }
}

/// The boxes that lines lead to from a box, by way of wires.
fn check_lines(layout: &Layout, deps: &[Vec<usize>]) {
    let mut box_of = vec![0; deps.len()];
    for (n, nodes) in layout.boxes.iter().enumerate() {
        for &node in nodes {
            box_of[node] = n;
        }
    }
    let wanted: HashSet<(usize, usize)> = (deps.iter().enumerate())
        .flat_map(|(node, of_node)| of_node.iter().map(move |&dep| (dep, node)))
        .map(|(from, to)| (box_of[from], box_of[to]))
        .collect();
    let drawn: Vec<(usize, usize)> = (layout.lines.iter())
        .filter_map(|line| Some((line.source, line.target?)))
        .collect();
    assert_eq!(drawn.len(), wanted.len());
    assert_eq!(drawn.into_iter().collect::<HashSet<_>>(), wanted);
}

/// Deps that point to lower nodes only, then renamed at random.
fn acyclic(most: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1..most)
        .prop_flat_map(|n| {
            let edges = prop::collection::hash_set((0..n, 0..n), 0..n * 2);
            (Just((0..n).collect::<Vec<_>>()).prop_shuffle(), edges)
        })
        .prop_map(|(names, edges)| {
            let mut edges: Vec<_> = edges.into_iter().collect();
            edges.sort_unstable();
            let mut deps = vec![Vec::new(); names.len()];
            for (a, b) in edges {
                let (from, to) = (names[a.min(b)], names[a.max(b)]);
                if a != b && !deps[to].contains(&from) {
                    deps[to].push(from);
                }
            }
            deps
        })
}

fn sizes(count: usize) -> Vec<Size> {
    (0..count)
        .map(|n| Size {
            width: 150.0 + (n * 37 % 50) as f64,
            height: 50.0 + (n * 53 % 40) as f64,
        })
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[<>&\"'`#;:%{}()\\[\\]|\\\\/\u{0}-\u{1f}\u{202e}\u{fffe}\u{301}漢🦀a]{0,60}",
        Just("</title></text><script>alert(1)</script>".to_owned()),
        Just("\"]; click s0 href \"javascript:alert(1)\"\nend\n%%{init: {}}%%".to_owned()),
    ]
}

fn hostile() -> impl Strategy<Value = Picture> {
    let step = (
        text(),
        text(),
        text(),
        text(),
        0..6_usize,
        any::<[i64; 5]>(),
        any::<[bool; 4]>(),
    );
    (prop::collection::vec(step, 0..30), text(), 0..6_usize).prop_map(|(steps, error, status)| {
        let steps = (steps.into_iter().enumerate())
            .map(
                |(n, (slug, target, error, reason, kind, numbers, flags))| Step {
                    slug,
                    executor: Executor::ALL[kind],
                    target: flags[0].then_some(target),
                    is_map: flags[1],
                    is_manual: flags[2],
                    deps: (0..n)
                        .filter(|dep| (numbers[0] >> (dep % 60)) & 3 == 3)
                        .collect(),
                    state: Some(State {
                        status: Status::ALL[kind],
                        error_message: Some(error),
                        skip_reason: flags[3].then_some(reason),
                        completed_tasks: numbers[1],
                        initial_tasks: flags[0].then_some(numbers[2]),
                        attempts: numbers[3].max(0),
                        failed_attempts: numbers[4].max(0),
                        is_ready: flags[1],
                        took: flags[2].then_some(numbers[1]),
                    }),
                },
            )
            .collect();
        let mut picture = run(steps, Status::ALL[status]);
        picture
            .run
            .iter_mut()
            .for_each(|run| run.error_message = Some(error.clone()));
        picture.flow_slug = error;
        picture
    })
}

proptest! {
    #[test]
    fn nothing_overlaps_and_lines_lead_down(deps in acyclic(40)) {
        let sizes = sizes(deps.len());
        let layout = Layout::of(&sizes, &deps).expect("small enough");
        check(&layout, &sizes, &deps);
        check_lines(&layout, &deps);
    }

    #[test]
    fn a_circle_or_a_dep_that_is_nowhere_is_no_trouble(
        deps in (1..20_usize).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0..n + 2, 0..4), n))
    ) {
        let layout = Layout::of(&sizes(deps.len()), &deps).expect("small enough");
        check(&layout, &sizes(deps.len()), &[]);
    }

    #[test]
    fn hostile_texts_stay_texts(picture in hostile()) {
        let drawn = svg::svg(&picture);
        parse(&drawn);
        prop_assert_eq!(&drawn, &svg::svg(&picture.clone()));

        let written = mermaid::mermaid(&picture);
        let tame = mermaid::mermaid(&tamed(&picture));
        // The same lines, but for what labels say.
        let without_labels = |text: &str| -> Vec<String> {
            (text.lines().filter(|line| !line.contains("accTitle")))
                .map(|line| line.trim_end_matches(';').split('"').step_by(2).collect())
                .collect()
        };
        prop_assert_eq!(without_labels(&written), without_labels(&tame));
        prop_assert_eq!(written.lines().count(), tame.lines().count());
    }
}

/// The same picture with texts that harm nobody.
fn tamed(picture: &Picture) -> Picture {
    let mut tame = picture.clone();
    tame.flow_slug = "flow".to_owned();
    for step in &mut tame.steps {
        step.slug = "step".to_owned();
        step.target = None;
        if let Some(state) = &mut step.state {
            state.error_message = None;
            state.skip_reason = None;
        }
    }
    tame
}

/// Steps with two deps each among the last few before them.
fn woven(count: usize, back: usize) -> Vec<Vec<usize>> {
    (0..count)
        .map(|n| {
            let mut deps: Vec<usize> = [7919, 104_729]
                .into_iter()
                .filter(|_| n > 0)
                .map(|prime| n - 1 - (n * prime / 13) % n.min(back))
                .collect();
            deps.sort_unstable();
            deps.dedup();
            deps
        })
        .collect()
}

#[test]
fn two_thousand_steps_are_drawn_fast() {
    let chain: Vec<Vec<usize>> = (0..MOST_STEPS)
        .map(|n| if n == 0 { vec![] } else { vec![n - 1] })
        .collect();
    let fan: Vec<Vec<usize>> = (0..MOST_STEPS)
        .map(|n| match n {
            0 => vec![],
            _ if n == MOST_STEPS - 1 => (1..n).collect(),
            _ => vec![0],
        })
        .collect();
    // Pairs of lanes, which are no group.
    let lanes: Vec<Vec<usize>> = (0..MOST_STEPS)
        .map(|n| match n {
            0 => vec![],
            _ if n % 2 == 1 => vec![0],
            _ => vec![n - 1],
        })
        .collect();
    for deps in [
        chain,
        fan,
        lanes,
        woven(MOST_STEPS, 20),
        woven(MOST_STEPS, 500),
    ] {
        let began = Instant::now();
        let sizes = sizes(deps.len());
        if let Some(layout) = Layout::of(&sizes, &deps) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                began.elapsed()
            );
            check(&layout, &sizes, &deps);
            check_lines(&layout, &deps);
            assert_eq!(
                layout.nodes,
                Layout::of(&sizes, &deps).expect("as before").nodes
            );
        }
    }
}

#[test]
fn what_is_too_large_is_a_mark_for_each_step() {
    let mut steps: Vec<Step> = (0..20_000).map(|n| step(&format!("s{n}"), &[])).collect();
    for (n, step) in steps.iter_mut().enumerate() {
        step.state = Some(state(Status::ALL[n % 6]));
    }
    let mut huge = run(steps, Status::Started);
    huge.dep_count = 1_000_000;
    let drawn = svg::svg(&huge);
    assert!(drawn.len() < 1_000_000, "{}", drawn.len());
    let said = said(&drawn);
    assert!(said.contains("3,334 steps completed\n"), "{said}");
    assert!(said.contains("3,333 steps failed\n"), "{said}");

    // Few steps, and too many wires.
    let dense: Vec<Vec<usize>> = (0..200).map(|n| (0..n).collect()).collect();
    let dense = dense
        .iter()
        .enumerate()
        .map(|(n, deps)| step(&format!("s{n}"), deps))
        .collect();
    parse(&svg::svg(&flow(dense)));
}

#[test]
fn a_fan_of_three_hundred_is_no_wider_than_a_page() {
    let mut deps = vec![vec![]];
    deps.extend(vec![vec![0]; 300]);
    deps.push((1..=300).collect());
    let sizes = vec![
        Size {
            width: 180.0,
            height: 50.0
        };
        deps.len()
    ];
    let layout = Layout::of(&sizes, &deps).expect("small enough");
    check(&layout, &sizes, &deps);
    assert!(layout.size.width < 1_200.0, "{:?}", layout.size);
    assert_eq!(layout.lines.len(), 2);
}

#[test]
fn many_lanes_go_from_left_to_right() {
    let mut deps = vec![vec![]];
    for lane in 0..40 {
        deps.extend([vec![0], vec![2 * lane + 1]]);
    }
    let sizes = sizes(deps.len());
    let layout = Layout::of(&sizes, &deps).expect("small enough");
    check(&layout, &sizes, &deps);
    assert!(
        layout.goes_right && layout.size.width < 1_200.0,
        "{:?}",
        layout.size
    );
}

#[test]
fn a_diamond_is_even() {
    let deps = [vec![], vec![0], vec![0], vec![1, 2]];
    let sizes = [Size {
        width: 160.0,
        height: 50.0,
    }; 4];
    let layout = Layout::of(&sizes, &deps).expect("small enough");
    let lefts: Vec<f64> = layout.nodes.iter().map(|node| node.x).collect();
    assert_eq!(lefts, [91.0, 0.0, 182.0, 91.0]);
}

#[test]
fn a_step_says_how_it_stands() {
    let mut map = step("resize", &[]);
    map.is_map = true;
    let mut said = |state: State| {
        map.state = Some(state);
        map.line()
    };
    let map_state = |status| State {
        initial_tasks: Some(5),
        completed_tasks: 3,
        attempts: 7,
        failed_attempts: 2,
        took: Some(4_200_000),
        ..state(status)
    };
    assert_eq!(
        said(map_state(Status::Started)),
        "running 4.2 s · 3/5 tasks · 2 retries"
    );
    assert_eq!(
        said(map_state(Status::Failed)),
        "failed after 4.2 s · 3/5 tasks · 2 retries"
    );
    assert_eq!(
        said(map_state(Status::Completed)),
        "completed in 4.2 s · 5 tasks · 2 retries"
    );
    let pending = State {
        initial_tasks: None,
        attempts: 0,
        ..state(Status::Pending)
    };
    assert_eq!(said(pending), "pending");
    let skipped = State {
        skip_reason: Some("condition_unmet".to_owned()),
        ..state(Status::Skipped)
    };
    assert_eq!(said(skipped), "skipped: condition unmet");

    let mut single = step("approve", &[]);
    let mut said = |executor, is_manual, state: State| {
        (single.executor, single.is_manual, single.state) = (executor, is_manual, Some(state));
        single.line()
    };
    let started = State {
        took: Some(61_000_000),
        ..state(Status::Started)
    };
    assert_eq!(said(Executor::External, false, started), "waits 1 min 1 s");
    let ready = State {
        is_ready: true,
        ..state(Status::Pending)
    };
    assert_eq!(said(Executor::Worker, true, ready), "waits to be started");
    // A retry that is queued has begun; the one attempt of a step that a fork kept is none.
    let retried = State {
        attempts: 2,
        failed_attempts: 1,
        took: Some(5_000),
        ..state(Status::Completed)
    };
    assert_eq!(
        said(Executor::Sql, false, retried),
        "completed in 5 ms · 1 retry"
    );
    let kept = State {
        attempts: 0,
        took: None,
        ..state(Status::Completed)
    };
    assert_eq!(said(Executor::Sql, false, kept), "completed");
}

#[test]
fn errors_are_shown_and_escaped() {
    let mut failed = step("send", &[]);
    failed.state = Some(State {
        error_message: Some("<b>no & \"yes\"</b>\u{1b}[31m\nline two ".repeat(40)),
        took: Some(2_000_000),
        ..state(Status::Failed)
    });
    let mut picture = run(vec![failed], Status::Failed);
    picture
        .run
        .iter_mut()
        .for_each(|run| run.error_message = Some("step \"send\" <failed>".to_owned()));
    let drawn = svg::svg(&picture);
    let said = said(&drawn);
    assert!(said.contains("<b>no & \"yes\"</b>[31m line two"), "{said}");
    assert!(said.contains("step \"send\" <failed>\n"), "{said}");
    assert!(
        said.contains("failed after 1.5 s · 0 of 1 step completed · 1 failed\n"),
        "{said}"
    );
    assert!(drawn.len() < 12_000, "{}", drawn.len());
}

#[test]
fn a_long_slug_is_cut_and_is_whole_in_the_title() {
    let slug = "a".repeat(128);
    let drawn = svg::svg(&flow(vec![step(&slug, &[])]));
    let said = said(&drawn);
    let titles = said.lines().filter(|line| *line == slug).count();
    assert_eq!(titles, 1, "{said}");
    assert!(said.contains("aaaa…\n"), "{said}");
}

#[test]
fn the_picture_of_nothing_is_a_picture() {
    for picture in [flow(vec![]), run(vec![], Status::Completed)] {
        parse(&svg::svg(&picture));
        mermaid::mermaid(&picture);
    }
    assert!(said(&svg::svg(&flow(vec![]))).contains("0 steps, 0 deps\n"));
}

#[test]
fn every_status_and_executor_has_a_symbol() {
    let steps = (0..6)
        .map(|n| Step {
            executor: Executor::ALL[n],
            state: Some(state(Status::ALL[n])),
            ..step(&format!("s{n}"), &[])
        })
        .collect();
    let drawn = svg::svg(&run(steps, Status::Started));
    assert_eq!(
        parse(&drawn)
            .descendants()
            .filter(|node| node.has_tag_name("symbol"))
            .count(),
        12
    );
}

#[test]
fn mermaid_is_as_it_is() {
    let mut steps = vec![step("end", &[]), step("b", &[0]), step("c", &[0, 1])];
    steps[0].state = Some(State {
        took: Some(812_000),
        ..state(Status::Completed)
    });
    steps[1].is_map = true;
    steps[1].executor = Executor::Http;
    steps[1].state = Some(State {
        error_message: Some("\"]; click <x> `#1`".to_owned()),
        initial_tasks: Some(2),
        ..state(Status::Failed)
    });
    steps[2].executor = Executor::Timer;
    steps[2].state = Some(state(Status::Cancelled));
    assert_eq!(
        mermaid::mermaid(&run(steps, Status::Failed)),
        "flowchart TD
  accTitle: Run 01a2276e-6ebd-70c8-8a56-2fdeeed3177e of f: failed
  s0[\"✓ <b>end</b><br/>worker · completed in 812 ms\"]
  s1[[\"✗ <b>b</b><br/>http map · failed · 0/2 tasks<br/>#34;#93;#59; click #60;x#62; #96;#35;1#96;\"]];
  s2([\"⊘ <b>c</b><br/>timer · cancelled\"])
  s0 --> s1
  s0 --> s2
  s1 --> s2
  classDef completed fill:#ebf8f3,stroke:#08714f,color:#06382a
  class s0 completed
  classDef failed fill:#fdefe8,stroke:#b3350b,color:#5c1a04,stroke-width:3px
  class s1 failed
  classDef cancelled fill:#f5f7f9,stroke:#5d6772,color:#3b434b,stroke-dasharray:2 3
  class s2 cancelled
"
    );
}
