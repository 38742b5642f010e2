//! Random flows, the reference interpreter that says how their runs end, sessions that work them, and the comparison:
//! the parts of the model-based test, for every test that checks runs against the contract.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod calls;
pub mod case;
pub mod compare;
pub mod generate;
pub mod held;
pub mod interpret;
pub mod sessions;
pub mod settle;
