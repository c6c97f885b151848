//! No lost write: a record acknowledged with acks=all is in the log, at the offset told, until
//! retention or somebody's request deletes it. One acknowledged with acks=1 is there as long as
//! nothing unsynced was lost.

use super::{Finding, History};
use crate::event::{Contents, Promise, Work};

/// What is promised.
pub(super) const PROMISE: &str = "A record acknowledged with acks=all is in the log at the offset told, until it is deleted as was asked; one with acks=1 is there as long as nothing unsynced was lost.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut lost = Vec::new();
    let unsynced_lost = history.work.contains(&&Work::UnsyncedLost);
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
        match history.promise(record.producer) {
            Promise::Once | Promise::Durable => {}
            Promise::Written if !unsynced_lost => {}
            Promise::Written | Promise::Nothing => continue,
        }
        let wanted = Contents::Whole(*record);
        let found = match offset {
            Some(offset) => log.get(offset).copied(),
            None => log.values().find(|contents| **contents == wanted).copied(),
        };
        let may_be_gone = match offset {
            Some(offset) => found.is_none() && history.may_be_deleted(partition, *offset),
            None => history.may_start_late(partition),
        };
        if found != Some(wanted) && !may_be_gone {
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
    use super::{super::fixture::*, *};

    #[test]
    fn an_acknowledged_record_that_is_missing_or_elsewhere_is_found() {
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[0])), 0);
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[])), 1);
        assert_eq!(verdict(check, vec![acknowledged(0, 0)], log(&[1, 0])), 1);
    }

    #[test]
    fn what_was_only_written_may_go_with_what_was_not_synced_and_only_then() {
        let one = || vec![promised(Promise::Written), acknowledged(0, 0)];
        assert_eq!(verdict(check, one(), log(&[])), 1);
        let with_loss = [one(), vec![Work::UnsyncedLost]].concat();
        assert_eq!(verdict(check, with_loss, log(&[])), 0);
        let nothing = vec![promised(Promise::Nothing), acknowledged(0, 0)];
        assert_eq!(verdict(check, nothing, log(&[])), 0);
    }

    #[test]
    fn a_record_below_the_logs_start_is_lost_unless_its_deletion_was_asked_for() {
        let gone = |cause| vec![cause, started(1, 0), acknowledged(0, 0)];
        assert_eq!(verdict(check, gone(deletion_asked(1)), log(&[])), 0);
        assert_eq!(verdict(check, gone(deletion_asked(0)), log(&[])), 1);
        assert_eq!(verdict(check, gone(retained(Some(1), None)), log(&[])), 0);
        assert_eq!(verdict(check, gone(retained(None, None)), log(&[])), 1);
    }
}
