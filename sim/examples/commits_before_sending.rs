//! A mailer with a bug: it commits an order before its mail is sent, so one that dies in between
//! never sends it. `cargo sim example commits_before_sending --seeds 100` finds a seed.

#[cfg(madsim)]
mod mailer;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    ottla_sim::app::main(|seed| mailer::simulation(seed, mailer::Commit::BeforeSending))
}

#[cfg(not(madsim))]
fn main() {}
