//! Whether an end is that of a serial execution.

use std::collections::HashMap;
use std::sync::Arc;

use crate::acts::{Act, Kind};
use crate::scenes::Scene;
use crate::server::Answer;
use crate::stage::{Level, Outcome};

/// A serial execution of some of the two calls, and what came of it.
pub struct Serial {
    pub name: &'static str,
    /// Which call was made first, second, …
    pub order: &'static [usize],
    pub outcome: Arc<Outcome>,
}

impl Serial {
    /// The answers of the two calls, none for one that was not made, then those of the calls that followed.
    fn answers(&self) -> Vec<Option<&Answer>> {
        let of = |role| self.order.iter().position(|&r| r == role).and_then(|place| self.outcome.answers.get(place));
        let late = self.outcome.answers.iter().skip(self.order.len()).map(Some);
        [of(0), of(1)].into_iter().chain(late).collect()
    }
}

/// Answers and a state in which runs are named by who mentions them first.
#[derive(PartialEq)]
struct Told {
    answers: Vec<Option<String>>,
    state: Vec<String>,
}

const UUID: usize = 36;

/// Replaces every UUID of a text.
fn rename(text: &str, names: &mut HashMap<String, String>, may_add: bool) -> String {
    let is_uuid = |part: &str| {
        part.len() == UUID
            && part.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
    };
    let mut renamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(part) = rest.get(..UUID).filter(|part| is_uuid(part)) {
            let number = names.len();
            if may_add && !names.contains_key(part) {
                names.insert(part.to_owned(), format!("run {number}"));
            }
            renamed.push_str(names.get(part).map_or("another run", String::as_str));
            rest = &rest[UUID..];
        } else {
            renamed.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    renamed
}

fn tell(run: &str, answers: &[Option<&Answer>], state: &[(String, String)]) -> Told {
    let mut names = HashMap::from([(run.to_owned(), "the run".to_owned())]);
    let answers = (answers.iter()).map(|answer| answer.map(|answer| rename(&said(answer), &mut names, true))).collect();
    let mut state: Vec<String> = (state.iter())
        .map(|(id, text)| format!("{}: {}", rename(id, &mut names, false), rename(text, &mut names, false)))
        .collect();
    state.sort_unstable();
    Told { answers, state }
}

fn said(answer: &Answer) -> String {
    let mut rows = answer.rows.clone();
    rows.sort_unstable();
    match &answer.code {
        Some(code) => format!("ERROR {code}"),
        None => rows.join("\n"),
    }
}

/// What was got, as far as a serial execution may be compared with it: not the answer of a call that was undone.
fn tell_like(got: &Outcome, serial: &Serial) -> (Told, Told) {
    let wanted = serial.answers();
    let answers: Vec<Option<&Answer>> =
        got.answers.iter().zip(&wanted).map(|(answer, wanted)| wanted.is_some().then_some(answer)).collect();
    (tell(&got.run, &answers, &got.state), tell(&serial.outcome.run, &wanted, &serial.outcome.state))
}

/// The serial executions that are the same.
pub fn matching(got: &Outcome, serial: &[Serial]) -> Vec<&'static str> {
    let same = |serial: &&Serial| {
        let (got, wanted) = tell_like(got, serial);
        got == wanted
    };
    serial.iter().filter(same).map(|serial| serial.name).collect()
}

pub fn difference(got: &Outcome, serial: &[Serial]) -> String {
    let mut lines = Vec::new();
    for (role, answer) in ["A", "B", "C", "D"].iter().zip(&got.answers) {
        lines.push(format!("  {role} answered {}: {}", said(answer).replace('\n', "\n    "), answer.message));
    }
    for serial in serial {
        let (got, wanted) = tell_like(got, serial);
        lines.push(format!("  unlike {}:", serial.name));
        for (is, should) in got.answers.iter().zip(&wanted.answers).filter(|(is, should)| is != should) {
            lines.push(format!("    answer {is:?}\n    wanted {should:?}"));
        }
        let odd = |these: &Told, those: &Told| -> Vec<String> {
            these.state.iter().filter(|row| !those.state.contains(row)).cloned().collect()
        };
        let (is, should) = (odd(&got, &wanted), odd(&wanted, &got));
        for no in 0..is.len().max(should.len()) {
            let [is, should] = [&is, &should].map(|rows| rows.get(no).map_or("", String::as_str));
            let same = is.chars().zip(should.chars()).take_while(|(a, b)| a == b).count();
            let clip = |row: &str| row.chars().skip(same.saturating_sub(80)).take(400).collect::<String>();
            lines.push(format!("    is     {}\n    wanted {}", clip(is), clip(should)));
        }
    }
    lines.join("\n")
}

/// What was left to the next call: with that call the end is the same, and all claims together hand out the same tasks,
/// all prunings delete as many runs.
pub fn after_follow_up(got: &Outcome, serial: &[Serial], kinds: &[Kind]) -> Result<(), String> {
    for serial in serial {
        let (got, wanted) = tell_like(got, serial);
        let split = |told: &Told| {
            let mut alone = Vec::new();
            let mut claimed = Vec::new();
            let mut pruned = 0;
            for (kind, answer) in kinds.iter().zip(&told.answers) {
                match (kind, answer) {
                    (Kind::Claim, Some(rows)) if !rows.starts_with("ERROR") => {
                        claimed.extend(rows.lines().map(str::to_owned));
                    }
                    (Kind::Prune, Some(count)) if !count.starts_with("ERROR") => {
                        pruned += count.parse::<i64>().unwrap_or(0);
                    }
                    _ => alone.push(answer.clone()),
                }
            }
            claimed.sort_unstable();
            (alone, claimed, pruned)
        };
        if got.state == wanted.state && split(&got) == split(&wanted) {
            return Ok(());
        }
    }
    Err(difference(got, serial))
}

/// Errors that no call may answer with.
pub fn faults(got: &Outcome, level: Level) -> Vec<String> {
    let documented = |code: &str| matches!(code, "PT404" | "PT409") || level != Level::ReadCommitted && code == "40001";
    let answers = ["A", "B"].iter().zip(&got.answers);
    answers
        .filter_map(|(role, answer)| {
            let code = answer.code.as_deref().filter(|code| !documented(code))?;
            Some(format!("{role}: ERROR {code}: {}", answer.message))
        })
        .collect()
}

/// `delete_flow` refuses to delete runs that its snapshot is too old to see.
pub fn sees_too_little(answer: &Answer, level: Level) -> bool {
    level != Level::ReadCommitted && answer.is("PT409") && answer.message.starts_with("flow has new runs")
}

/// Claiming waits for nothing. `run_flow` waits only for another first run or a change of the same version, for
/// `delete_flow`, and for the same idempotency key.
pub fn must_not_wait(scene: &Scene, [first, second]: [&Act; 2]) -> bool {
    if second.name.starts_with("claim") {
        return true;
    }
    let has_new_key = |act: &Act| matches!(act.name, "run_flow, a new key" | "run_flows");
    let is_unfrozen = matches!(scene.name, "fresh" | "undefined");
    second.name.starts_with("run_flow")
        && first.name != "delete_flow"
        && !(is_unfrozen
            && ["create_flow", "define_flow", "add_step", "run_flow"].iter().any(|n| first.name.starts_with(n)))
        && !(has_new_key(first) && has_new_key(second))
}
