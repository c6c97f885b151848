//! No changed record: whatever is read is what some producer wrote to that partition, bit by bit.

use super::{Finding, History};
use crate::event::{Contents, Work};

/// What is promised.
pub(super) const PROMISE: &str =
    "Whatever is read is what some producer wrote to that partition, bit by bit.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    history
        .work
        .iter()
        .enumerate()
        .filter_map(|(at, work)| match work {
            Work::Read {
                partition,
                offset,
                contents: Contents::Changed { digest },
                ..
            }
            | Work::Final {
                partition,
                offset,
                contents: Contents::Changed { digest },
            } => {
                let detail =
                    format!("{partition} at {offset} holds bytes nobody wrote ({digest:016x})");
                Some(Finding::new(detail).seen(at))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::{Contents, Work};

    #[test]
    fn changed_bytes_are_found() {
        assert_eq!(verdict(check, vec![read(0, 0)], log(&[0])), 0);
        let contents = Contents::Changed { digest: 1 };
        let changed = Work::Read {
            consumer: 1,
            partition: at(0),
            offset: 0,
            contents,
        };
        assert_eq!(verdict(check, vec![changed], log(&[0])), 1);
    }
}
