//! The door: the SQL functions, one file per audience. A function takes raw arguments, makes a typed request, calls the
//! engine and returns rows.
//!
//! Every argument is an `Option`: a function that takes plain values would be STRICT and answer NULL in silence.

mod access;
mod arguments;
mod define;
mod locks;
mod observe;
mod operate;
mod pictures;
mod queues;
mod run;
mod schedule;
mod work;
