//! No lost write: a record acknowledged with acks=all is in the log for ever, at the offset told.

use super::History;
use crate::event::{Contents, Work};

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    let mut lost = Vec::new();
    for work in &history.work {
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
            lost.push(format!(
                "{record} was acknowledged in {partition}{place}; the log has {found} there"
            ));
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
