//! Arguments that are more than a number or a path.

use std::{str::FromStr, time::Duration};

/// Reads `90s`, `10m` or `2h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let refused = || format!("expected a time such as 90s, 10m or 2h, got \"{text}\"");
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(refused()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| refused())?;
    let seconds = number.checked_mul(unit).ok_or_else(refused)?;
    Ok(Duration::from_secs(seconds))
}

/// One part of the seeds, `3/8`: the third of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) number: u64,
    pub(super) of: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("expected a shard such as 3/8, got \"{text}\"")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Shard {
    /// The seed that comes `nth` in this shard, counted from 0.
    pub(super) fn seed(self, from: u64, nth: u64) -> Option<u64> {
        let before = nth.checked_mul(self.of)?.checked_add(self.number - 1)?;
        from.checked_add(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_seeds_among_them() {
        let mut seeds = Vec::new();
        for number in 1..=3 {
            let shard: Shard = format!("{number}/3").parse().unwrap();
            seeds.extend((0..4).map(|nth| shard.seed(10, nth).unwrap()));
        }
        seeds.sort_unstable();
        assert_eq!(seeds, (10..22).collect::<Vec<_>>());
    }

    #[test]
    fn a_wrong_shard_or_time_is_refused_with_an_example() {
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0"] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.contains("3/8"), "{error}");
        }
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "10", "m", "10é", "-1s"] {
            assert!(time(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }
}
