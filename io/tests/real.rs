//! The conformance suite on the real backend, and what only the real one does.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot make its ground fails"
)]

use std::{future::Future, net::Ipv4Addr};

use ottla_io::{
    Io,
    conformance::Ground,
    real::{self, RealIo},
};

fn run<C, F>(case: C)
where
    C: FnOnce(Ground<RealIo>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    real::run(|io| {
        case(Ground {
            peer: io.clone(),
            io,
            folder: folder.path().to_owned(),
            address: Ipv4Addr::LOCALHOST.into(),
        })
    })
    .unwrap();
}

ottla_io::conformance_suite!(run);

#[test]
fn lock_is_met_by_another_process_with_a_record_lock() {
    run(|ground: Ground<RealIo>| async move {
        use ottla_io::Disk;

        let path = ground.folder.join(".lock");
        let _held = ground.io.disk().lock(&path).await.unwrap();
        // Java's FileChannel.tryLock is a record lock, as Python's lockf is.
        let script = "import fcntl,sys\n\
             f=open(sys.argv[1],'r+')\n\
             try: fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB)\n\
             except OSError: sys.exit(42)";
        match std::process::Command::new("python3")
            .arg("-c")
            .arg(script)
            .arg(&path)
            .status()
        {
            Ok(status) => assert_eq!(status.code(), Some(42)),
            Err(error) => println!("not tried, there is no python3: {error}"),
        }
    });
}
