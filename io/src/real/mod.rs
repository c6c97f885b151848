//! The real backend: tokio's multi-thread runtime, the operating system's files, TCP and clocks.
//!
//! Everything that production code does to the world passes through [`RealIo`]. Whatever may wait
//! for a device (syncs, cold reads, directory operations) runs on the runtime's blocking threads;
//! what the page cache answers at once is done inline, because a hop to another thread (about
//! 30 us) costs more than the call itself.
//!
//! The broker and the client never name tokio's runtime: a program's `main` calls [`run`], and gets
//! the termination signals from [`RealIo::termination`].

mod disk;
mod file;
mod net;
mod termination;

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use ottla_core::time::{Instant, Now, Timestamp};
use tokio::runtime::{Builder, Handle};

pub use self::{
    disk::{RealDisk, RealLock},
    file::{RealFile, RealMap},
    net::{RealListener, RealNet, RealStream},
    termination::Termination,
};
use crate::{Clock, Io, Random, Spawn};

/// The machine that this process runs on. A clone is the same node.
#[derive(Clone, Debug)]
pub struct RealIo {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    runtime: Handle,
    /// Where the monotonic clock starts to count.
    started: std::time::Instant,
    disk: RealDisk,
    net: RealNet,
}

impl RealIo {
    /// The backend on a runtime that the caller keeps alive. It must have its I/O and time drivers
    /// enabled.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        let disk = RealDisk::new(runtime.clone());
        let started = std::time::Instant::now();
        Self {
            node: Arc::new(Node {
                runtime,
                started,
                disk,
                net: RealNet,
            }),
        }
    }

    /// Takes SIGTERM and SIGINT from now on. To be called before anything is begun that a signal
    /// must not cut off, and once a process.
    ///
    /// # Errors
    /// When the operating system takes no handler.
    pub fn termination(&self) -> io::Result<Termination> {
        Termination::new(&self.node.runtime)
    }
}

/// Builds a runtime with a worker a core, runs `program` on it to its end, and ends the runtime
/// without waiting for blocking calls that are still under way.
///
/// # Errors
/// When the operating system refuses the threads or descriptors that a runtime needs.
pub fn run<P, F>(program: P) -> io::Result<F::Output>
where
    P: FnOnce(RealIo) -> F,
    F: Future,
{
    allow_many_files();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("ottla")
        .build()?;
    let io = RealIo::new(runtime.handle().clone());
    let output = runtime.block_on(program(io));
    runtime.shutdown_background();
    Ok(output)
}

/// Raises the number of files and connections that this process may have open to what the system
/// allows it: shells start programs with 1,024.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(?current, ?maximum, %error, "the limit of open files cannot be raised");
    }
}

impl Clock for RealIo {
    fn now(&self) -> Now {
        let since_start = self.node.started.elapsed();
        // A clock set before 1970 reads as 1970.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            monotonic: Instant(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX)),
            wall: Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        let wake_at = self
            .node
            .started
            .checked_add(Duration::from_nanos(deadline.0));
        async move {
            match wake_at {
                // tokio's timer counts whole milliseconds and is pending at first even when due.
                Some(wake_at) if wake_at <= std::time::Instant::now() => {}
                Some(wake_at) => tokio::time::sleep_until(wake_at.into()).await,
                // Beyond what the operating system's clock can say.
                None => std::future::pending().await,
            }
        }
    }
}

impl Random for RealIo {
    fn fill_random(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            // Without flags this waits for the pool at boot and cannot fail but by a signal.
            if let Ok(count) =
                rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            {
                filled += count;
            }
        }
    }
}

impl Spawn for RealIo {
    fn spawn_detached(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        tracing::trace!(task = name, "started");
        drop(self.node.runtime.spawn(future));
    }
}

impl Io for RealIo {
    type Disk = RealDisk;
    type Net = RealNet;

    fn disk(&self) -> &RealDisk {
        &self.node.disk
    }

    fn net(&self) -> &RealNet {
        &self.node.net
    }
}
