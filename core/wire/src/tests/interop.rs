//! Kafka's own classes read what we write, and write the same bytes.
//!
//! Ignored by default, as it needs Java and Kafka's jars: `KAFKA_LIBS` names their directory, `JAVA`
//! the program (17 or newer).

extern crate std;

use alloc::string::String;
use core::fmt::Write as _;
use std::process::Command;
use std::{env, fs};

use super::noise;
use crate::arbitrary::{Arbitrary, Gen};
use crate::codec::Message;

/// How many values of each message are drawn in each version.
const DRAWN: u64 = 20;

/// Where Kafka keeps the classes of a module of ours.
const PACKAGES: &str = "org.apache.kafka.common.message,org.apache.kafka.common.metadata,\
    org.apache.kafka.coordinator.group.generated,org.apache.kafka.coordinator.transaction.generated,\
    org.apache.kafka.coordinator.share.generated,org.apache.kafka.server.log.remote.metadata.storage.generated,\
    org.apache.kafka.storage.internals.log.generated,org.apache.kafka.raft.generated";

fn vectors<M: Message + Arbitrary + Default>(out: &mut String) {
    for version in M::MIN_VERSION..=M::MAX_VERSION {
        line(out, &M::default(), version, "default");
        for seed in 0..DRAWN {
            let bytes = noise(
                seed.wrapping_mul(0x9e37_79b9).wrapping_add(version as u64),
                600,
            );
            line(
                out,
                &M::arbitrary(&mut Gen(&bytes), version),
                version,
                "drawn",
            );
        }
    }
}

fn line<M: Message>(out: &mut String, message: &M, version: i16, kind: &str) {
    // A default may have nulls that an old version does not allow.
    let Ok(bytes) = message.to_bytes(version) else {
        assert_eq!(kind, "default");
        return;
    };
    write!(out, "{PACKAGES} {} {version} {kind} ", M::NAME).unwrap();
    bytes
        .iter()
        .for_each(|byte| write!(out, "{byte:02x}").unwrap());
    out.push('\n');
}

#[test]
#[ignore = "needs Java and, in KAFKA_LIBS, Kafka's jars"]
fn kafka_reads_and_writes_the_same_bytes() {
    let libs = env::var("KAFKA_LIBS").expect("KAFKA_LIBS names the directory of Kafka's jars");
    let java = env::var("JAVA").unwrap_or("java".into());
    let mut out = String::new();
    macro_rules! add {
        ($message:ty) => {
            vectors::<$message>(&mut out)
        };
    }
    crate::messages::each!(add);
    crate::metadata::each!(add);
    crate::group::each!(add);
    crate::transaction::each!(add);
    crate::share::each!(add);
    crate::storage::each!(add);
    crate::raft::each!(add);
    let file = env::temp_dir().join(alloc::format!("ottla-wire-{}.txt", std::process::id()));
    fs::write(&file, out).unwrap();
    let run = Command::new(java)
        .args(["-cp", &alloc::format!("{libs}/*"), "tests/java/Reread.java"])
        .arg(&file)
        .output()
        .expect("Java runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{}\n{}",
        said,
        String::from_utf8_lossy(&run.stderr)
    );
    std::println!("{said}");
    fs::remove_file(&file).unwrap();
}
