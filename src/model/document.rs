//! A flow as one JSON document, as `define_flow` takes it.
//!
//! The reader goes on after a problem and reports all of them, each with its JSON path. What is wrong with a value by
//! itself is said by the same rules that `create_flow` and `add_step` follow, see [`super::shape`].

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::domain::excerpt;
use super::problem::{Fault, Problem, Problems};
use super::shape::{self, MOST_DEPS, MOST_STEPS, Options, StepShape, UNREADABLE};
use super::slug;
use crate::error::quoted;

/// A whole flow, valid and with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub flow_slug: String,
    pub description: Option<String>,
    pub options: Options,
    /// In the order of the document.
    pub steps: Vec<StepShape>,
}

/// A document with faults.
#[derive(Debug)]
pub struct Faulty {
    pub problems: Problems,
    /// The steps, as far as they could be read, for whoever knows more that may be wrong with them.
    pub steps: Vec<StepShape>,
}

/// Reads the text of a `jsonb` value.
pub fn read(json: &str) -> Result<Document, Faulty> {
    let mut reader = Reader { problems: vec![] };
    let document = reader.document(json);
    match document {
        Some(document) if reader.problems.is_empty() => Ok(document),
        document => Err(Faulty {
            problems: Problems(reader.problems),
            steps: document.map_or_else(Vec::new, |document| document.steps),
        }),
    }
}

const FIELDS: &str =
    "Fields have the names and types of the arguments of create_flow and add_step.";
const TOO_LARGE: &str = "Make several flows of it.";

struct Reader {
    problems: Vec<Problem>,
}

/// The fields of an object that have not been read yet.
struct Object<'a> {
    path: String,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// A field with its path. An explicit null is no value.
    fn take(&mut self, field: &str) -> Option<(String, &'a str)> {
        let value = self.fields.remove(field)?.get();
        (value != "null").then(|| (self.path_of(field), value))
    }

    fn path_of(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }
}

impl Reader {
    fn document(&mut self, json: &str) -> Option<Document> {
        let mut fields = self.object("$".into(), json)?;
        let flow_slug = self.name(&mut fields, "flow_slug");
        if flow_slug != UNREADABLE
            && let Err(fault) = slug::check(&flow_slug)
        {
            self.report("$.flow_slug", fault);
        }
        let description = self.text(&mut fields, "description");
        let options = self.options(&mut fields);
        let elements = self.required(&mut fields, "steps");
        self.unknown(&fields, "flow");

        let elements = elements.and_then(|(path, value)| self.array(&path, value))?;
        if elements.len() > MOST_STEPS {
            let message = format!("{} steps are more than {MOST_STEPS}", elements.len());
            self.report("$.steps", Fault::new(message, TOO_LARGE));
            return None;
        }
        let steps: Vec<_> = elements
            .iter()
            .enumerate()
            .map(|(n, element)| self.step(n, element.get(), &flow_slug, &options))
            .collect();
        let deps: usize = steps.iter().map(|step| step.deps_slugs.len()).sum();
        if deps > MOST_DEPS {
            let message = format!("{deps} deps are more than {MOST_DEPS}");
            self.report("$.steps", Fault::new(message, TOO_LARGE));
            return None;
        }
        shape::check_edges(&steps, place_in_step, &mut self.problems);
        let mut document = Document {
            flow_slug,
            description,
            options,
            steps,
        };
        if self.problems.is_empty() {
            document.steps.iter_mut().for_each(StepShape::normalise);
        }
        Some(document)
    }

    fn options(&mut self, fields: &mut Object<'_>) -> Options {
        let default = Options::default();
        let options = Options {
            max_attempts: self.or(default.max_attempts, Self::integer, fields, "max_attempts"),
            base_delay: self.or(default.base_delay, Self::integer, fields, "base_delay"),
            timeout: self.or(default.timeout, Self::integer, fields, "timeout"),
            max_delay: self.or(default.max_delay, Self::integer, fields, "max_delay"),
            run_timeout: self.integer(fields, "run_timeout"),
            output_step_slug: self.text(fields, "output_step_slug"),
            executor: self.or(default.executor, Self::text, fields, "executor"),
            target: self.text(fields, "target"),
        };
        options.check(&mut |field, _, fault| self.report(fields.path_of(field), fault));
        options
    }

    /// A step; what cannot be read has its default.
    fn step(&mut self, n: usize, json: &str, flow_slug: &str, options: &Options) -> StepShape {
        let default = StepShape::new(flow_slug, UNREADABLE);
        let Some(mut fields) = self.object(format!("$.steps[{n}]"), json) else {
            return default;
        };
        let fields = &mut fields;
        // A null target is said on purpose: this step has none, whatever the flow says.
        let no_target = fields
            .fields
            .get("target")
            .is_some_and(|v| v.get() == "null");
        let executor = self.or(options.executor.clone(), Self::text, fields, "executor");
        // What one executor calls means nothing to another.
        let takes_target = executor == options.executor || executor == "worker";
        let step = StepShape {
            step_slug: self.name(fields, "step_slug"),
            deps_slugs: self.texts(fields, "deps_slugs"),
            step_type: self.or(default.step_type, Self::text, fields, "step_type"),
            map_over: self.text(fields, "map_over"),
            executor,
            target: match self.text(fields, "target") {
                None if !no_target && takes_target => options.target.clone(),
                own => own,
            },
            queue: self.or(default.queue, Self::text, fields, "queue"),
            start_mode: self.or(default.start_mode, Self::text, fields, "start_mode"),
            max_attempts: self.integer(fields, "max_attempts"),
            base_delay: self.integer(fields, "base_delay"),
            timeout: self.integer(fields, "timeout"),
            start_delay: self.integer(fields, "start_delay"),
            required_input_pattern: raw(fields, "required_input_pattern"),
            forbidden_input_pattern: raw(fields, "forbidden_input_pattern"),
            when_unmet: self.or(default.when_unmet, Self::text, fields, "when_unmet"),
            when_exhausted: self.or(default.when_exhausted, Self::text, fields, "when_exhausted"),
        };
        self.unknown(fields, "step");
        step.check(&mut |field, element, fault| {
            // What a step takes from the flow is reported there.
            let reported = match field {
                "queue" => step.queue == flow_slug,
                "executor" => step.executor == options.executor,
                _ => false,
            };
            if !reported {
                self.report(place_in_step(n, field, element), fault);
            }
        });
        step
    }

    fn report(&mut self, path: impl Into<String>, fault: Fault) {
        self.problems.push(Problem::new(path, fault));
    }

    fn mismatch(&mut self, path: &str, json: &str, expected: &str) {
        let message = format!("{} is not {expected}", excerpt(json));
        self.report(path, Fault::new(message, FIELDS));
    }

    fn unknown(&mut self, object: &Object<'_>, what: &str) {
        for field in object.fields.keys() {
            let path = if slug::check(field).is_ok() {
                object.path_of(field)
            } else {
                format!("{}[{}]", object.path, quoted(field))
            };
            let message = format!("unknown field of a {what}");
            self.report(path, Fault::new(message, FIELDS));
        }
    }

    fn object<'a>(&mut self, path: String, json: &'a str) -> Option<Object<'a>> {
        let Ok(fields) = serde_json::from_str(json) else {
            self.mismatch(&path, json, "an object");
            return None;
        };
        Some(Object { path, fields })
    }

    fn array<'a>(&mut self, path: &str, json: &'a str) -> Option<Vec<&'a RawValue>> {
        let elements = serde_json::from_str(json);
        if elements.is_err() {
            self.mismatch(path, json, "an array");
        }
        elements.ok()
    }

    fn string(&mut self, path: &str, json: &str) -> Option<String> {
        let string = serde_json::from_str(json);
        if string.is_err() {
            self.mismatch(path, json, "a string");
        }
        string.ok()
    }

    fn required<'a>(&mut self, object: &mut Object<'a>, field: &str) -> Option<(String, &'a str)> {
        let value = object.take(field);
        if value.is_none() {
            let fault = Fault::new(
                "missing",
                "A flow has a \"flow_slug\" and \"steps\", a step a \"step_slug\".",
            );
            self.report(object.path_of(field), fault);
        }
        value
    }

    fn name(&mut self, object: &mut Object<'_>, field: &str) -> String {
        self.required(object, field)
            .and_then(|(path, json)| self.string(&path, json))
            .unwrap_or_else(|| UNREADABLE.to_owned())
    }

    fn text(&mut self, object: &mut Object<'_>, field: &str) -> Option<String> {
        let (path, json) = object.take(field)?;
        self.string(&path, json)
    }

    fn texts(&mut self, object: &mut Object<'_>, field: &str) -> Vec<String> {
        let Some((path, json)) = object.take(field) else {
            return Vec::new();
        };
        let elements = self.array(&path, json).unwrap_or_default();
        elements
            .iter()
            .enumerate()
            .map(|(n, element)| {
                self.string(&format!("{path}[{n}]"), element.get())
                    .unwrap_or_else(|| UNREADABLE.to_owned())
            })
            .collect()
    }

    fn integer(&mut self, object: &mut Object<'_>, field: &str) -> Option<i32> {
        let (path, json) = object.take(field)?;
        // `3.0` is whole too; PostgreSQL never writes an exponent.
        let whole = match json.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => json,
        };
        let is_number = whole.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        match whole.parse() {
            Ok(number) => return Some(number),
            Err(_) if is_number => self.mismatch(&path, json, "within the range of integers"),
            Err(_) => self.mismatch(&path, json, "a whole number"),
        }
        None
    }

    /// An optional field, or its default.
    fn or<T>(
        &mut self,
        default: T,
        read: impl FnOnce(&mut Self, &mut Object<'_>, &str) -> Option<T>,
        object: &mut Object<'_>,
        field: &str,
    ) -> T {
        read(self, object, field).unwrap_or(default)
    }
}

fn raw(object: &mut Object<'_>, field: &str) -> Option<String> {
    object.take(field).map(|(_, json)| json.to_owned())
}

fn place_in_step(n: usize, field: &'static str, element: Option<usize>) -> String {
    match element {
        None => format!("$.steps[{n}].{field}"),
        Some(element) => format!("$.steps[{n}].{field}[{element}]"),
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
