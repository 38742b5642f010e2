//! Whose turn it is: a line of calls for each host, of which so many are under way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A lane for each host that has calls.
pub struct Lanes<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
}

struct Lane<T> {
    under_way: usize,
    waiting: VecDeque<T>,
}

impl<T> Lanes<T> {
    pub fn new() -> Self {
        Self {
            lanes: HashMap::new(),
        }
    }

    /// Puts a call at the end of its host's lane.
    pub fn push(&mut self, host: Arc<str>, call: T) {
        let lane = self.lanes.entry(host).or_insert_with(|| Lane {
            under_way: 0,
            waiting: VecDeque::new(),
        });
        lane.waiting.push_back(call);
    }

    /// Takes the call of `host` that may start now; `limit` is what it allows.
    pub fn next(&mut self, host: &str, limit: impl Fn(&T) -> usize) -> Option<T> {
        let lane = self.lanes.get_mut(host)?;
        if lane.under_way >= limit(lane.waiting.front()?).max(1) {
            return None;
        }
        lane.under_way += 1;
        lane.waiting.pop_front()
    }

    /// One of the calls that [`next`](Self::next) gave is over.
    pub fn ended(&mut self, host: &str) {
        if let Some(lane) = self.lanes.get_mut(host) {
            lane.under_way -= 1;
            if lane.under_way == 0 && lane.waiting.is_empty() {
                self.lanes.remove(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_lets_so_many_through_in_order() {
        let mut lanes = Lanes::new();
        for call in 0..4 {
            lanes.push("a".into(), call);
        }
        lanes.push("b".into(), 9);
        let limit = |_: &i32| 2;
        assert_eq!(lanes.next("a", limit), Some(0));
        assert_eq!(lanes.next("a", limit), Some(1));
        assert_eq!(lanes.next("a", limit), None);
        assert_eq!(lanes.next("b", limit), Some(9));
        lanes.ended("a");
        assert_eq!(lanes.next("a", |_| 1), None);
        assert_eq!(lanes.next("a", limit), Some(2));
        lanes.ended("a");
        lanes.ended("a");
        assert_eq!(lanes.next("a", |_| 0), Some(3));
        assert_eq!(lanes.next("a", limit), None);
        lanes.ended("a");
        lanes.ended("b");
        assert_eq!(lanes.next("c", limit), None);
        assert!(lanes.lanes.is_empty());
    }
}
