//! The io conformance suite on the simulated backend: what the real one does, this one does.
#![cfg(madsim)]
#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::{future::Future, path::Path};

use madsim::runtime::Runtime;
use ottla_io::{Disk, Io, conformance::Ground};
use ottla_sim::{io::SimIo, world::World};

fn run<C, F>(case: C)
where
    C: Fn(Ground<SimIo>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    for seed in 0..20 {
        Runtime::with_seed_and_config(seed, madsim::Config::default()).block_on(async {
            let world = World::new(seed, false);
            let node = world.add_node("broker", 1 << 30);
            let (io, peer) = (node.start(), world.add_node("client", 0).start());
            let folder = Path::new("/folder").to_owned();
            io.disk().create_dir_all(&folder).await.unwrap();
            case(Ground {
                io,
                peer,
                folder,
                address: node.address(),
            })
            .await;
        });
    }
}

ottla_io::conformance_suite!(run);
