//! No lost write: a record acknowledged with acks=all is in the log for ever, at the offset told.

use super::{Finding, History};
use crate::event::{Contents, Work};

/// What is promised.
pub(super) const PROMISE: &str =
    "A record acknowledged with acks=all is in the log for ever, at the offset told.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut lost = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let Work::Acknowledged {
            record,
            partition,
            offset,
        } = work
        else {
            continue;
        };
        let Some(log) = history.logs.get(partition) else {
            continue;
        };
        let wanted = Contents::Whole(*record);
        let found = match offset {
            Some(offset) => log.get(offset).copied(),
            None => log.values().find(|contents| **contents == wanted).copied(),
        };
        if found != Some(wanted) {
            let place = offset.map_or(String::new(), |offset| format!(" at {offset}"));
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            let detail = format!(
                "{record} was acknowledged in {partition}{place}; the log has {found} there"
            );
            let seen = offset.and_then(|offset| history.place(partition, offset));
            let seen = seen.or_else(|| history.end(partition));
            lost.push(Finding::new(detail).promised(at).seen(seen));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};

    #[test]
    fn an_acknowledged_record_that_is_missing_or_elsewhere_is_found() {
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[0])), 0);
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[])), 1);
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[1, 0])), 1);
    }
}
