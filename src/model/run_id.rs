//! Run ids.

use std::fmt;

/// The id of a run: a version 7 UUID (RFC 9562), so ids sort by the time they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// A new id, later than every id that this process made before.
    pub fn new() -> Self {
        Self(*uuid::Uuid::now_v7().as_bytes())
    }

    /// The least id that can be made at `unix_millis`: ids below it are older.
    pub fn least_at(unix_millis: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_millis.to_be_bytes()[2..]);
        Self(bytes)
    }

    /// Reads the usual forms of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::parse_str(text)
            .ok()
            .map(|id| Self(*id.as_bytes()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_sort_by_time() {
        let ids: Vec<_> = (0..1000).map(|_| RunId::new()).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.0[6] >> 4 == 7));
        assert!(RunId::least_at(0) < ids[0]);
        assert!(RunId::least_at(u64::MAX >> 16) > ids[0]);
    }

    #[test]
    fn text_round_trip() {
        let id = RunId::new();
        assert_eq!(RunId::parse(&id.to_string()), Some(id));
        assert_eq!(RunId::parse("nonsense"), None);
    }
}
