//! The rules, in plain Rust: no PostgreSQL, no SQL. Everything here is tested without a server.

pub mod catch_up;
pub mod cron;
pub mod definition;
pub mod document;
pub mod domain;
mod function_name;
pub mod graph;
pub mod problem;
pub mod retry;
mod run_id;
pub mod shape;
pub mod slug;

pub use definition::{Definition, Executor, Resort, Step, StepNo, StepType};
pub use function_name::FunctionName;
pub use run_id::RunId;
