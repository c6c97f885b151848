//! Shrinking: from a scenario that breaks an invariant to the smallest one that still breaks it.
//!
//! Pure: a [`Shrinker`] gives a batch of candidates in order of preference, is told the first of them
//! that still breaks the invariant, and gives the next batch. Who runs them may do so in any order and
//! number at a time; the first in the batch's order counts, so the result is the same. What has been
//! learnt before an interruption is a matter of the runner, too: given the same verdicts, the same
//! batches come again.
//!
//! First everything is tried with the seed that is known to fail, which is cheap. What this leaves is
//! tried with a few other seeds: taking a part away moves all later events, and a failure may need
//! another draw to come back.

mod passes;

use crate::scenario::Scenario;

/// Seeds that a candidate is tried with besides the one that is known to fail.
pub const MORE_SEEDS: u64 = 8;

/// The state of a shrinking.
#[derive(Debug)]
pub struct Shrinker {
    best: Scenario,
    more_seeds: u64,
    /// Which pass goes on, how fine, and which of its candidates comes next.
    pass: usize,
    level: u32,
    cursor: usize,
    /// Whether this round has found anything smaller, and whether it tries other seeds, too.
    found: bool,
    wide: bool,
    batch: Vec<Scenario>,
    /// Different candidates in the batch; the rest are the same with other seeds.
    width: usize,
}

impl Shrinker {
    /// Begins with a scenario that breaks the invariant with this seed.
    #[must_use]
    pub fn new(scenario: &Scenario, seed: u64, more_seeds: u64) -> Self {
        let best = Scenario {
            seed: Some(seed),
            ..scenario.clone()
        };
        Self {
            best,
            more_seeds,
            pass: 0,
            level: 0,
            cursor: 0,
            found: false,
            wide: false,
            batch: Vec::new(),
            width: 0,
        }
    }

    /// The smallest scenario so far, with its seed.
    #[must_use]
    pub fn best(&self) -> &Scenario {
        &self.best
    }

    /// What is being tried.
    #[must_use]
    pub fn pass(&self) -> &'static str {
        passes::ALL.get(self.pass).map_or("done", |(name, _)| name)
    }

    /// The next candidates, each with its seed, in order of preference; none when nothing smaller is
    /// left to try.
    pub fn candidates(&mut self) -> Option<&[Scenario]> {
        loop {
            let Some((_, pass)) = passes::ALL.get(self.pass) else {
                if !self.next_round() {
                    return None;
                }
                continue;
            };
            let Some(smaller) = pass(&self.best, self.level) else {
                (self.pass, self.level, self.cursor) = (self.pass + 1, 0, 0);
                continue;
            };
            let left = smaller.get(self.cursor..).unwrap_or_default();
            if left.is_empty() {
                (self.level, self.cursor) = (self.level + 1, 0);
                continue;
            }
            self.width = left.len();
            self.batch = self
                .seeds()
                .flat_map(|seed| left.iter().map(move |one| (seed, one)))
                .map(|(seed, one)| Scenario {
                    seed: Some(seed),
                    ..one.clone()
                })
                .collect();
            return Some(&self.batch);
        }
    }

    /// Takes the place in the batch of the first candidate that breaks the invariant, if any does.
    pub fn take(&mut self, first: Option<usize>) {
        match first.and_then(|first| self.batch.get(first).map(|best| (first, best))) {
            Some((first, best)) => {
                self.best = best.clone();
                // Those before it have just failed; they get another chance in the next round.
                self.cursor += first % self.width.max(1);
                self.found = true;
            }
            None => (self.level, self.cursor) = (self.level + 1, 0),
        }
    }

    fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let own = self.best.seed.unwrap_or(1);
        let more = if self.wide { self.more_seeds } else { 0 };
        std::iter::once(own).chain((1..=more).filter(move |seed| *seed != own))
    }

    /// A round that found something is followed by one as cheap, one that did not by one with more
    /// seeds, and that by nothing.
    fn next_round(&mut self) -> bool {
        let wider = !self.found && !self.wide && self.more_seeds > 0;
        if !self.found && !wider {
            return false;
        }
        self.wide = wider;
        self.found = false;
        (self.pass, self.level, self.cursor) = (0, 0, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::FaultKind;

    /// Shrinks with a rule in place of the simulator; gives the result and how many candidates ran.
    fn shrink(seed: u64, breaks: impl Fn(&Scenario) -> bool) -> (Scenario, usize) {
        let begun = Scenario::drawn(seed).with_drawn_faults(seed);
        let mut shrinker = Shrinker::new(&begun, seed, MORE_SEEDS);
        assert!(breaks(shrinker.best()), "seed {seed} breaks nothing");
        let mut tried = BTreeSet::new();
        while let Some(batch) = shrinker.candidates() {
            let first = batch.iter().position(|candidate| {
                tried.insert(candidate.to_toml());
                breaks(candidate)
            });
            shrinker.take(first);
        }
        (shrinker.best().clone(), tried.len())
    }

    fn kinds(scenario: &Scenario) -> Vec<FaultKind> {
        scenario.faults.iter().map(|fault| fault.fault).collect()
    }

    /// A seed whose drawn faults hold a power loss of the broker.
    fn power_losses(scenario: &Scenario) -> usize {
        let faults = scenario.faults.iter();
        faults
            .filter(|fault| fault.fault == FaultKind::PowerLoss && fault.node == "broker")
            .count()
    }

    fn seed_with_power_losses() -> u64 {
        (1..)
            .find(|seed| {
                let story = Scenario::drawn(*seed).with_drawn_faults(*seed);
                power_losses(&story) > 2 && story.workload.producers > 1
            })
            .unwrap()
    }

    #[test]
    fn one_fault_of_many_is_all_that_stays_of_a_scenario_that_needs_one() {
        let (small, tried) = shrink(seed_with_power_losses(), |story| {
            power_losses(story) > 0 && story.workload.producers > 0
        });
        assert_eq!(kinds(&small), [FaultKind::PowerLoss]);
        assert_eq!(small.workload.producers, 1);
        assert_eq!((small.workload.consumers, small.workload.members), (0, 0));
        assert_eq!(small.topics[0].partitions, 1);
        assert!(small.topics[0].config.is_empty() && small.cluster.config.is_empty());
        assert!(small.workload.duration.0.as_millis() <= 1000, "{small:?}");
        assert!(tried < 400, "{tried} candidates");
    }

    #[test]
    fn two_faults_that_are_needed_together_both_stay() {
        let (small, _) = shrink(seed_with_power_losses(), |story| power_losses(story) > 1);
        assert_eq!(kinds(&small), [FaultKind::PowerLoss; 2]);
    }

    #[test]
    fn a_failure_that_needs_another_seed_once_a_part_is_gone_is_still_shrunk() {
        let seed = seed_with_power_losses();
        let (small, _) = shrink(seed, |story| {
            power_losses(story) > 0
                && (story.workload.producers > 1 || story.seed == Some(5))
                && story.workload.producers > 0
        });
        assert_eq!((small.workload.producers, small.seed), (1, Some(5)));
    }

    #[test]
    fn the_same_verdicts_give_the_same_candidates_in_the_same_order() {
        let run = || shrink(seed_with_power_losses(), |story| power_losses(story) > 0);
        assert_eq!(run(), run());
    }
}
