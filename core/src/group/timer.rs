//! The timers of a shard: one ordered map of deadlines, so that the same inputs fire in the same
//! order everywhere.
//!
//! A timer is named by what it is for; setting it again replaces it. Timers that fall due at one
//! instant fire in the order in which they were set.

use alloc::collections::BTreeMap;

use ottla_wire::Str;

use crate::time::Instant;

/// Why a shard wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerReason {
    /// When a member has not been heard of for its session time-out, or a member that was given an
    /// id has not come back with it.
    Session,
    /// When a new group has waited long enough for its first members
    /// (`group.initial.rebalance.delay.ms`).
    InitialDelay,
    /// When a rebalance has waited long enough for members to join again.
    RebalanceTimeout,
    /// When a generation has waited long enough for members to ask for their assignment.
    PendingSync,
    /// When offsets and empty groups are looked through for expired ones.
    OffsetExpiry,
}

/// Which timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// [`TimerReason::Session`] of a group's member, pending or not.
    Session(Str, Str),
    /// The end of the joining phase of a group: one at a time, for one of two reasons.
    Join(Str),
    /// [`TimerReason::PendingSync`] of a group.
    PendingSync(Str),
    /// [`TimerReason::OffsetExpiry`].
    OffsetExpiry,
}

/// Deadlines, by time and by name.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Instant, u64), (TimerKey, TimerReason)>,
    set: BTreeMap<TimerKey, (Instant, u64)>,
    count: u64,
}

impl Timers {
    pub(super) fn set(&mut self, key: TimerKey, reason: TimerReason, at: Instant) {
        self.cancel(&key);
        self.count += 1;
        self.set.insert(key.clone(), (at, self.count));
        self.due.insert((at, self.count), (key, reason));
    }

    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some(place) = self.set.remove(key) {
            self.due.remove(&place);
        }
    }

    pub(super) fn next(&self) -> Option<(Instant, TimerReason)> {
        self.due
            .first_key_value()
            .map(|((at, _), (_, reason))| (*at, *reason))
    }

    /// A mark between the timers that have been set and those that will be.
    pub(super) fn mark(&self) -> u64 {
        self.count
    }

    /// Takes the first timer that is due at `now`, of those set before the mark: what a timer that
    /// fires sets is for another time, even if that is at once.
    pub(super) fn pop(&mut self, now: Instant, mark: u64) -> Option<(TimerKey, TimerReason)> {
        let place = *self
            .due
            .range(..=(now, u64::MAX))
            .map(|(place, _)| place)
            .find(|(_, count)| *count <= mark)?;
        let (key, reason) = self.due.remove(&place)?;
        self.set.remove(&key);
        Some((key, reason))
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.set.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_again_fires_once_at_the_later_time() {
        let mut timers = Timers::default();
        timers.set(
            TimerKey::OffsetExpiry,
            TimerReason::OffsetExpiry,
            Instant(5),
        );
        timers.set(
            TimerKey::OffsetExpiry,
            TimerReason::OffsetExpiry,
            Instant(9),
        );
        assert_eq!(timers.pop(Instant(8), timers.mark()), None);
        assert_eq!(timers.next(), Some((Instant(9), TimerReason::OffsetExpiry)));
        assert!(timers.pop(Instant(9), timers.mark()).is_some());
        assert_eq!(timers.pop(Instant(99), timers.mark()), None);
    }

    #[test]
    fn a_timer_set_after_the_mark_waits_though_it_is_due() {
        let mut timers = Timers::default();
        let set = |timers: &mut Timers| {
            timers.set(
                TimerKey::OffsetExpiry,
                TimerReason::OffsetExpiry,
                Instant(1),
            );
        };
        set(&mut timers);
        let mark = timers.mark();
        assert!(timers.pop(Instant(1), mark).is_some());
        set(&mut timers);
        assert_eq!(timers.pop(Instant(1), mark), None);
        assert!(timers.pop(Instant(1), timers.mark()).is_some());
    }

    #[test]
    fn timers_due_together_fire_in_the_order_they_were_set() {
        let mut timers = Timers::default();
        let (a, b) = (Str::from("a"), Str::from("b"));
        timers.set(
            TimerKey::PendingSync(b.clone()),
            TimerReason::PendingSync,
            Instant(1),
        );
        timers.set(
            TimerKey::Join(a.clone()),
            TimerReason::InitialDelay,
            Instant(1),
        );
        assert_eq!(
            timers.pop(Instant(1), timers.mark()).map(|(key, _)| key),
            Some(TimerKey::PendingSync(b))
        );
        assert_eq!(
            timers.pop(Instant(1), timers.mark()).map(|(key, _)| key),
            Some(TimerKey::Join(a))
        );
    }
}
