//! What `replay` shows of a run.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{Picture, page};
use crate::run::Outcome;

/// What `replay` shows of a run; every event, if nothing else is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct PictureOptions {
    /// Writes one page that shows the run, to be opened in a browser.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Prints the life of a record: p1001#17, or p1001#17@events-0 for that of one partition.
    #[arg(long)]
    pub record: Option<String>,
    /// Prints only what concerns one partition, node or group: events-0, producer1, members.
    #[arg(long)]
    pub lane: Option<String>,
    /// Shows the bytes on the network and the reads of the disk too, in a page or a lane.
    #[arg(long)]
    pub all: bool,
}

impl PictureOptions {
    /// The lines that show a run of which all events were kept, the violations first, in words.
    /// `again` is the command that repeats the run.
    pub fn lines(&self, outcome: &Outcome, again: &str) -> Result<Vec<String>, String> {
        let Some(recording) = &outcome.recording else {
            return Err("the run kept no events to show".to_owned());
        };
        let picture = Picture::new(recording, &outcome.violations, self.all);
        let mut lines = picture.violations(recording, again);
        if let Some(record) = &self.record {
            lines.extend(picture.life(recording, record)?);
        }
        if let Some(lane) = &self.lane {
            lines.extend(picture.lane(recording, lane)?);
        }
        if let Some(file) = &self.html {
            let page = page(&picture, recording, outcome, again);
            fs::write(file, page).map_err(|error| format!("{}: {error}", file.display()))?;
            lines.push(format!("picture: {}", file.display()));
        }
        if self.html.is_none() && self.record.is_none() && self.lane.is_none() {
            lines.extend_from_slice(&outcome.timeline);
        }
        Ok(lines)
    }
}
