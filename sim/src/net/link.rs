//! A link: one direction between two nodes, and what is wrong with it.
//!
//! Faults overlap, so a state says what one of them does to a link, and states are joined: what is cut
//! by one stays cut when another ends.

use super::state::NetState;
use crate::{event::NodeId, random::SimRandom};

/// The most that is handed to a narrow link at once, so that a large answer trickles.
pub(super) const NARROW_PIECE_BYTES: usize = 8 * 1024;

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
}

/// How a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Nothing gets through.
    pub cut: bool,
    /// Everything takes this much longer.
    pub delay: Delay,
    /// No more than so many bytes a second get through, over all connections together.
    pub bytes_per_second: Option<u64>,
    /// What comes of new connections; those that stand go on.
    pub connects: Connects,
}

/// How much longer a link takes: on average, and how that is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// The mean, in microseconds.
    pub mean_micros: u64,
    /// The distribution.
    pub spread: Spread,
}

/// A distribution of delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Always the mean.
    #[default]
    Constant,
    /// Anything up to twice the mean.
    Uniform,
    /// Mostly less than the mean, now and then many times as much.
    Exponential,
}

/// What comes of new connections through a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connects {
    /// They are let through.
    #[default]
    Served,
    /// A firewall refuses them.
    Refused,
    /// They are dropped without a word, until whoever asks gives up.
    Dropped,
}

impl LinkState {
    /// Both at once.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let wider = self.delay.spread == Spread::Constant;
        let narrowest = match (self.bytes_per_second, other.bytes_per_second) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            cut: self.cut || other.cut,
            delay: Delay {
                mean_micros: self.delay.mean_micros + other.delay.mean_micros,
                spread: if wider {
                    other.delay.spread
                } else {
                    self.delay.spread
                },
            },
            bytes_per_second: narrowest,
            connects: self.connects.max(other.connects),
        }
    }
}

impl Delay {
    /// One delay, in microseconds.
    pub(super) fn draw(self, random: &mut SimRandom) -> u64 {
        let mean = self.mean_micros;
        match self.spread {
            _ if mean == 0 => 0,
            Spread::Constant => mean,
            Spread::Uniform => random.within(0..=mean * 2),
            Spread::Exponential => exponential(mean, random.next_u64()),
        }
    }
}

/// `-ln(word / 2^64)` times the mean, in whole numbers, so that it is the same on every machine: the
/// logarithm is taken to be straight between powers of two.
fn exponential(mean: u64, word: u64) -> u64 {
    const LN_2_IN_65536THS: u128 = 45_426;
    let zeros = word.leading_zeros().min(63);
    let fraction = ((word << zeros) << 1) >> 48;
    let log2 = (u128::from(zeros) << 16) + (65_536 - u128::from(fraction));
    let scaled = (u128::from(mean) * log2 * LN_2_IN_65536THS) >> 32;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

impl NetState {
    pub(super) fn link(&self, link: Link) -> LinkState {
        self.links.get(&link).copied().unwrap_or_default()
    }

    pub(super) fn is_cut(&self, link: Link) -> bool {
        self.link(link).cut
    }

    /// How long one trip takes, in nanoseconds.
    pub(super) fn latency(&mut self, link: Link) -> u64 {
        let delay = self.link(link).delay;
        let random = &mut self.random;
        let micros = match link.from == link.to {
            true => random.within(5..=40),
            // A lost packet that is sent again.
            false if random.chance(1, 400) => random.within(20_000..=250_000),
            false => random.within(60..=600),
        };
        (micros + delay.draw(random)) * 1_000
    }

    /// When `len` bytes that are sent now arrive: a narrow link carries one after the other, whatever
    /// connection they belong to.
    pub(super) fn arrival(&mut self, link: Link, now: u64, len: usize) -> u64 {
        let latency = self.latency(link);
        let Some(rate) = self.link(link).bytes_per_second else {
            return now + latency;
        };
        let takes = (len as u64).saturating_mul(1_000_000_000) / rate.max(1);
        let free = self.busy_until.get(&link).copied().unwrap_or(0).max(now);
        self.busy_until.insert(link, free + takes);
        free + takes + latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(spread: Spread) -> (u64, u64) {
        let mut random = SimRandom::new(5, "delays");
        let delay = Delay {
            mean_micros: 1_000,
            spread,
        };
        let drawn: Vec<u64> = (0..20_000).map(|_| delay.draw(&mut random)).collect();
        let mean = drawn.iter().sum::<u64>() / drawn.len() as u64;
        (mean, drawn.into_iter().max().unwrap_or(0))
    }

    #[test]
    fn each_spread_keeps_its_mean_and_only_the_exponential_has_a_long_tail() {
        assert_eq!(mean(Spread::Constant), (1_000, 1_000));
        let (uniform, largest) = mean(Spread::Uniform);
        assert!((950..=1_050).contains(&uniform) && largest <= 2_000);
        let (exponential, largest) = mean(Spread::Exponential);
        assert!((900..=1_100).contains(&exponential), "{exponential}");
        assert!(largest > 7_000, "{largest}");
    }

    #[test]
    fn joined_states_are_as_bad_as_the_worse_of_the_two() {
        let cut = LinkState {
            cut: true,
            ..LinkState::default()
        };
        let narrow = LinkState {
            bytes_per_second: Some(10),
            connects: Connects::Refused,
            ..LinkState::default()
        };
        let both = cut.joined(narrow);
        assert_eq!(both, narrow.joined(cut));
        assert!(both.cut && both.bytes_per_second == Some(10));
        assert_eq!(both.connects, Connects::Refused);
    }
}
