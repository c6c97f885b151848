//! No changed record: whatever is read is what some producer wrote to that partition, bit by bit. Where
//! no fault did damage, none is told of either.

use super::{Finding, History};
use crate::event::{Contents, Work};

/// What is promised.
pub(super) const PROMISE: &str =
    "Whatever is read is what some producer wrote to that partition, bit by bit.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut damaged = false;
    let mut changed = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
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
                ..
            } => {
                let detail =
                    format!("{partition} at {offset} holds bytes nobody wrote ({digest:016x})");
                changed.push(Finding::new(detail).seen(at));
            }
            Work::Damaged { .. } => damaged = true,
            Work::DamageTold { partition, how } if !damaged => {
                let place = partition
                    .as_ref()
                    .map_or(String::new(), |at| format!(" in {at}"));
                let detail = format!("damage that nothing did{place}: {how}");
                changed.push(Finding::new(detail).seen(at));
            }
            _ => {}
        }
    }
    changed
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
