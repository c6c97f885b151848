//! The same mailer without the bug: it commits an order once its mail is sent, so whatever dies, it
//! is sent. `cargo sim example commits_after_sending --seeds 100` finds nothing.

#[cfg(madsim)]
mod mailer;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    ottla_sim::app::main(|seed| mailer::simulation(seed, mailer::Commit::AfterSending))
}

#[cfg(not(madsim))]
fn main() {}
