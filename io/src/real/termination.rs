//! The signals that end a program: SIGTERM and SIGINT.

use std::io;

use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Takes SIGTERM and SIGINT for as long as the process lives. The first asks for a clean end, which
/// [`Termination::asked`] tells; a second, when that end takes too long for somebody, ends the
/// process at once with the status that a shell gives for the signal (143 and 130).
#[derive(Clone, Debug)]
pub struct Termination {
    asked: watch::Receiver<bool>,
}

impl Termination {
    /// The handlers are in place when this returns: from then on no signal is lost, and none of them
    /// kills the process before its end was asked for.
    pub(super) fn new(runtime: &Handle) -> io::Result<Self> {
        let entered = runtime.enter();
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        drop(entered);
        let (ask, asked) = watch::channel(false);
        runtime.spawn(async move {
            signals.next().await;
            ask.send_replace(true);
            let second = signals.next().await;
            std::process::exit(128 + second.as_raw_value());
        });
        Ok(Self { asked })
    }

    /// Completes once the first signal has come, be it before or after the call.
    pub async fn asked(&mut self) {
        // The task that tells ends with the runtime alone, and so does this one.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_before_anybody_waits_for_it_is_not_lost() {
        let mut termination = Termination::new(&Handle::current()).unwrap();
        // Without its handlers this ends the test.
        kill_process(getpid(), Signal::TERM).unwrap();
        termination.asked().await;
    }
}
