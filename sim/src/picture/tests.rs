//! A picture of the run made by hand: lanes, marks, spans, lives, violations, words.

use super::{Kind, LaneKind, Meaning, Picture, SpanKind, fixture, life::RecordKey};
use crate::event::Recording;

fn drawn() -> (Recording, Picture) {
    let recording = fixture::recording();
    let violations = fixture::violations(&recording);
    let picture = Picture::new(&recording, &violations, false);
    (recording, picture)
}

fn life(picture: &Picture, sequence: u64) -> Vec<Meaning> {
    let key = RecordKey {
        partition: "t-0".into(),
        record: fixture::record(sequence),
    };
    let steps = picture.lives.of(&key);
    steps.iter().map(|step| step.meaning).collect()
}

#[test]
fn there_is_a_lane_for_each_node_partition_and_group() {
    let (_, picture) = drawn();
    let lanes: Vec<(LaneKind, &str)> = picture
        .lanes
        .iter()
        .map(|lane| (lane.kind, lane.name.split('<').next().unwrap_or("")))
        .collect();
    assert_eq!(
        lanes,
        [
            (LaneKind::World, "world"),
            (LaneKind::Broker, "broker"),
            (LaneKind::Partition, "t-0"),
            (LaneKind::Client, "producer1"),
            (LaneKind::Client, "consumer1"),
            (LaneKind::Group, "readers"),
            (LaneKind::Judge, "judge"),
        ]
    );
}

#[test]
fn a_record_that_stays_is_followed_from_its_sending_to_the_last_reading() {
    let (_, picture) = drawn();
    let expected = [
        Meaning::Sent,
        Meaning::Written,
        Meaning::Synced,
        Meaning::Acknowledged,
        Meaning::Read,
        Meaning::Committed,
        Meaning::Found,
    ];
    assert_eq!(life(&picture, 0), expected);
}

#[test]
fn a_record_that_an_unsynced_write_held_is_lost_with_the_power_and_missing_at_the_end() {
    let (_, picture) = drawn();
    let expected = [
        Meaning::Sent,
        Meaning::Written,
        Meaning::Acknowledged,
        Meaning::Lost,
        Meaning::Missing,
    ];
    assert_eq!(life(&picture, 1), expected);
}

#[test]
fn a_loss_of_power_is_drawn_in_the_lanes_of_the_partitions_that_lost_something() {
    let (_, picture) = drawn();
    let lost = picture.marks.iter().find(|mark| mark.kind == Kind::Fault);
    let lanes = lost.map(|mark| mark.lanes.clone()).unwrap_or_default();
    let names: Vec<&str> = lanes
        .iter()
        .map(|lane| &*picture.lanes[*lane].name)
        .collect();
    assert_eq!(names, ["broker", "t-0"]);
}

#[test]
fn a_replica_leads_with_the_epoch_it_writes_until_its_process_ends() {
    let (_, picture) = drawn();
    let spans: Vec<(SpanKind, &str, &str)> = picture
        .spans
        .iter()
        .map(|span| (span.kind, &*picture.lanes[span.lane].name, &*span.text))
        .collect();
    assert!(spans.contains(&(SpanKind::Leading, "t-0", "leader, epoch 4")));
    assert!(spans.contains(&(SpanKind::Down, "broker", "no power")));
}

#[test]
fn a_lost_write_is_told_with_the_promise_the_acknowledgement_and_what_was_seen() {
    let (recording, picture) = drawn();
    let lost = &picture.verdicts[0];
    assert_eq!(lost.invariant, "lost_write");
    assert_eq!(
        lost.record.as_ref().map(ToString::to_string).as_deref(),
        Some("p1#1@t-0")
    );
    let kind = |mark: Option<usize>| mark.map(|mark| picture.marks[mark].kind);
    assert_eq!(kind(lost.promised_at), Some(Kind::Acknowledged));
    assert_eq!(kind(lost.seen_at), Some(Kind::Final));
    let words = picture.violations(&recording, "cargo sim replay --seed 1");
    assert!(words[1].contains("acknowledged with acks=all"), "{words:?}");
    assert!(
        words[2].contains("acknowledged p1#1 in t-0 at 1"),
        "{words:?}"
    );
    let command = "cargo sim replay --seed 1 --record 'p1#1@t-0'";
    assert!(
        words.iter().any(|line| line.ends_with(command)),
        "{words:?}"
    );
}

#[test]
fn a_life_and_a_lane_are_lines_and_an_unknown_one_is_refused_with_what_there_is() {
    let (recording, picture) = drawn();
    let life = picture.life(&recording, "p1#0").unwrap();
    assert_eq!(life.len(), 8);
    assert!(life[2].contains("offset 0 written to"), "{life:?}");
    let lane = picture.lane(&recording, "t-0").unwrap();
    assert!(
        lane.iter().all(|line| !line.contains("process")),
        "{lane:?}"
    );
    let refused = |result: Result<Vec<String>, String>| result.unwrap_err();
    assert!(refused(picture.life(&recording, "p9#9")).contains("p1#0@t-0"));
    assert!(refused(picture.life(&recording, "9")).contains("p1001#17"));
    assert!(refused(picture.lane(&recording, "x")).contains("broker"));
}

/// Not a check of its own: `cargo xtask interop picture` opens what it writes in a browser.
#[test]
#[ignore = "writes a page to the path in OTTLA_PICTURE"]
fn the_page_of_the_hand_made_run_is_written_for_a_browser() {
    let file = std::env::var_os("OTTLA_PICTURE").expect("OTTLA_PICTURE is the page to write");
    std::fs::write(file, fixture::page()).unwrap();
}

#[test]
fn every_kind_has_a_place_in_the_order_of_all() {
    for (index, kind) in Kind::ALL.iter().enumerate() {
        assert!(Kind::ALL[..index].iter().all(|other| other != kind));
    }
}
