//! Ottla's effects: disk, network, clock, randomness and tasks, as traits, and their real backend.
//!
//! The broker and the client are generic over [`Io`]. Production gives them [`real`], built on
//! tokio; the simulator gives them a disk and a network of its own. [`conformance`] is one suite of
//! generic functions that every backend must pass, so that the simulated world cannot drift from
//! the real one.
//!
//! Futures returned here are `Send` and may be dropped at any point: a dropped read has no effect;
//! a dropped write or sync may or may not have happened.

pub mod clock;
pub mod conformance;
pub mod disk;
pub mod net;
pub mod real;
pub mod task;

pub use clock::Clock;
pub use disk::{Disk, File, FileMap, OpenMode};
pub use net::{Listener, Net, Stream};
pub use task::{Spawn, Task, TaskLost};

/// Randomness that a backend hands out: the operating system's, or a stream drawn from the seed.
pub trait Random {
    /// Fills `bytes` with randomness good enough for identifiers and for seeding generators.
    fn fill_random(&self, bytes: &mut [u8]);

    /// A random 64-bit number, for seeding a machine's own generator.
    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Everything that a node may do to the world. Cheap to clone.
pub trait Io: Clock + Random + Spawn + Clone + Send + Sync + 'static {
    /// The node's disks.
    type Disk: Disk;
    /// The node's network.
    type Net: Net;

    /// The node's disks.
    fn disk(&self) -> &Self::Disk;
    /// The node's network.
    fn net(&self) -> &Self::Net;
}
