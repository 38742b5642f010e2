//! When a failed attempt is tried again.

/// Whether a task whose attempt `attempt` has failed is tried again. `first_attempt` opened its current budget:
/// `retry_run` opens a new one.
pub fn has_attempts_left(attempt: i32, first_attempt: i32, max_attempts: i32) -> bool {
    attempt - first_attempt + 1 < max_attempts
}

/// Seconds until the next attempt: exponential backoff, `base_delay * 2^(attempt - 1)` with the attempt counted within
/// the budget, never more than `max_delay`, then up to a tenth more or less. `jitter` lies in -1.0 to 1.0.
pub fn delay(
    attempt: i32,
    first_attempt: i32,
    base_delay: i32,
    max_delay: i32,
    jitter: f64,
) -> f64 {
    let doublings = (attempt - first_attempt).clamp(0, 31);
    let backoff = i64::from(base_delay) << doublings;
    let capped = i32::try_from(backoff).map_or(max_delay, |backoff| backoff.min(max_delay));
    f64::from(capped) * (1.0 + 0.1 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let delays: Vec<_> = (1..8).map(|n| delay(n, 1, 5, 60, 0.0)).collect();
        assert_eq!(delays, [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn a_new_budget_starts_over() {
        assert_eq!(delay(4, 4, 5, 60, 0.0), 5.0);
        assert!(has_attempts_left(4, 4, 2));
        assert!(!has_attempts_left(5, 4, 2));
        assert!(!has_attempts_left(1, 1, 1));
    }

    proptest! {
        #[test]
        fn never_beyond_the_cap_and_its_jitter(
            attempt in 1..i32::MAX, base in 0..i32::MAX, max in 0..i32::MAX, jitter in -1.0..1.0f64,
        ) {
            let seconds = delay(attempt, 1, base, max, jitter);
            prop_assert!(seconds >= 0.0);
            prop_assert!(seconds <= f64::from(max) * 1.1 + 1e-6);
        }

        #[test]
        fn a_budget_is_spent_to_the_last_attempt(first in 1..1_000_000, max_attempts in 1..200) {
            let mut attempt = first;
            while has_attempts_left(attempt, first, max_attempts) {
                attempt += 1;
            }
            prop_assert_eq!(attempt - first + 1, max_attempts);
        }

        #[test]
        fn doubles_from_attempt_to_attempt_until_the_cap(
            first in 1..1_000_000, nth in 0..80, base in 0..1000, max in 0..i32::MAX,
        ) {
            let mut expected = i64::from(base);
            for _ in 0..nth {
                expected = (2 * expected).min(i64::from(i32::MAX));
            }
            let expected = expected.min(i64::from(max)) as f64;
            prop_assert_eq!(delay(first + nth, first, base, max, 0.0), expected);
        }
    }
}
