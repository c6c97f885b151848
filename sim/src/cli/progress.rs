//! Progress: redrawn on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a log gets a line.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Where the progress of a long command is shown.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    last: Instant,
}

impl Progress {
    /// Progress towards a number of runs, if there is one.
    pub(super) fn new(runs: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(runs, ProgressDrawTarget::stderr());
        let template = match runs {
            Some(_) => "{bar:24} {pos}/{len} {elapsed}, {eta} left\n{msg}",
            None => "{spinner} {pos} {elapsed}\n{msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            last: Instant::now(),
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, done: u64, words: impl FnOnce() -> String) {
        if self.bar.is_hidden() {
            if self.last.elapsed() >= LOG_EVERY {
                self.last = Instant::now();
                eprintln!("{done} runs: {}", words().replace('\n', "; "));
            }
            return;
        }
        self.bar.set_message(words());
        self.bar.set_position(done);
    }

    /// Prints on standard output without tearing the bar.
    pub(super) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
