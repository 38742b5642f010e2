//! Every way a call can be refused: one variant, one SQLSTATE, one message.
//!
//! Messages follow the PostgreSQL error style guide: lower case, no full stop, values quoted; DETAIL and HINT are
//! sentences. The message of a `PT…` error becomes the reason phrase of an HTTP response behind PostgREST, so it
//! is constant text and the values stand in DETAIL.

use thiserror::Error;

/// The five characters a program branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlState {
    /// 22004: a required argument is null.
    NullValueNotAllowed,
    /// 22023: a value is out of its domain or over a limit.
    InvalidParameterValue,
    /// 42501: the caller may not do this.
    InsufficientPrivilege,
    /// PT404: no such flow, run, step or task, or none that the caller may see.
    NotFound,
    /// PT409: it exists already, or is not in a state that allows this.
    Conflict,
    /// XX000: a broken invariant of the engine itself.
    Internal,
}

impl SqlState {
    pub const fn code(self) -> &'static [u8; 5] {
        match self {
            Self::NullValueNotAllowed => b"22004",
            Self::InvalidParameterValue => b"22023",
            Self::InsufficientPrivilege => b"42501",
            Self::NotFound => b"PT404",
            Self::Conflict => b"PT409",
            Self::Internal => b"XX000",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    #[error("argument \"{argument}\" must not be null")]
    NullArgument { argument: &'static str },

    /// A value outside its domain; `message` quotes the value.
    #[error("{message}")]
    Invalid {
        message: String,
        detail: Option<String>,
        hint: Option<String>,
    },

    #[error("{what} not found")]
    NotFound { what: &'static str, detail: String },

    #[error("{message}")]
    Conflict {
        message: &'static str,
        detail: String,
        hint: Option<&'static str>,
    },

    #[error("permission denied for {object}")]
    Denied { object: String, detail: String },

    #[error("internal error of pgflow: {0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn invalid_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            detail: None,
            hint: Some(hint.into()),
        }
    }

    pub fn not_found(what: &'static str, detail: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            detail: detail.into(),
        }
    }

    pub fn conflict(message: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            message,
            detail: detail.into(),
            hint: None,
        }
    }

    pub fn flow_not_found(flow_slug: &str) -> Self {
        Self::not_found("flow", format!("There is no flow {}.", quoted(flow_slug)))
    }

    pub fn run_not_found(run_id: impl std::fmt::Display) -> Self {
        Self::not_found("run", format!("There is no run \"{run_id}\"."))
    }

    pub fn step_not_found(step_slug: &str) -> Self {
        Self::not_found(
            "step",
            format!("The run has no step {}.", quoted(step_slug)),
        )
    }

    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::NullArgument { .. } => SqlState::NullValueNotAllowed,
            Self::Invalid { .. } => SqlState::InvalidParameterValue,
            Self::NotFound { .. } => SqlState::NotFound,
            Self::Conflict { .. } => SqlState::Conflict,
            Self::Denied { .. } => SqlState::InsufficientPrivilege,
            Self::Internal(_) => SqlState::Internal,
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Invalid { detail, .. } => detail.as_deref(),
            Self::NotFound { detail, .. }
            | Self::Conflict { detail, .. }
            | Self::Denied { detail, .. } => Some(detail),
            Self::NullArgument { .. } | Self::Internal(_) => None,
        }
    }

    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NullArgument { .. } => {
                Some("Give it a value, or leave it out if it has a default.")
            }
            Self::Invalid { hint, .. } => hint.as_deref(),
            Self::Conflict { hint, .. } => *hint,
            _ => None,
        }
    }
}

/// A value in double quotes: cut so that a hostile one cannot flood the log, and on one line.
pub fn quoted(value: &str) -> String {
    const LONGEST: usize = 64;
    let (shown, rest) = match value.char_indices().nth(LONGEST) {
        None => (value, String::new()),
        Some((end, _)) => (&value[..end], format!(" ({} bytes)", value.len())),
    };
    let dots = if rest.is_empty() { "" } else { "…" };
    let mut line = String::with_capacity(shown.len());
    for character in shown.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    format!("\"{line}{dots}\"{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_at_a_character_boundary() {
        let long = "ä".repeat(1000);
        let text = quoted(&long);
        assert!(text.starts_with("\"ää"));
        assert!(text.ends_with("…\" (2000 bytes)"));
        assert_eq!(quoted("short"), "\"short\"");
        assert_eq!(quoted("two\nlines"), "\"two\\nlines\"");
    }
}
