//! What retention lets go of.

use alloc::vec::Vec;

use super::{
    TestBatch,
    fixture::{Fixture, small_config},
};
use crate::{batch::Origin, log::Segment, time::Duration};

#[test]
fn a_segment_that_goes_for_its_age_counts_against_the_excess_of_size() {
    let mut fixture = Fixture::new(small_config());
    while fixture.log.segments().len() < 4 {
        fixture.now.0 += 10;
        let batch = TestBatch {
            timestamp: fixture.now.0,
            filler: 150,
            ..TestBatch::default()
        };
        fixture.append(batch, 0, Origin::Client).unwrap();
        fixture.write();
    }
    let sizes: Vec<u64> = fixture.log.segments().map(Segment::size).collect();
    let oldest = fixture.log.segments().next().unwrap().largest_timestamp();
    let mut config = small_config();
    let age = (fixture.now.0 - oldest - 1).cast_unsigned();
    config.retention_ms = Some(Duration::from_millis(age));
    // Without the oldest one the log is as large as it may be.
    config.retention_bytes = Some(sizes[1..].iter().sum());
    fixture.log.set_config(config);
    let end = fixture.log.log_end();
    let retained = fixture.log.retain(fixture.now, end, &mut fixture.pending);
    assert_eq!((retained.segments, retained.bytes), (1, sizes[0]));
    assert!(!retained.rolled);
}
