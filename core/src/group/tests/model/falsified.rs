//! Each invariant of the model, handed a history that breaks it.

use super::*;

#[test]
fn a_generation_with_two_decisions_is_found() {
    let assigned = |decision: &str| (Str::from("g"), 0, 3, Str::from("m"), Str::from(decision));
    let mut history = History {
        assigned: alloc::vec![assigned("1")],
        ..History::default()
    };
    assert!(one_decision_a_generation(&history).is_ok());
    history.assigned.push(assigned("2"));
    assert!(one_decision_a_generation(&history).is_err());
}

#[test]
fn a_generation_that_goes_back_is_found() {
    let mut history = History::default();
    history
        .generations
        .extend([("g".into(), 0, 3), ("g".into(), 1, 1)]);
    assert!(generations_are_monotone(&history).is_ok());
    history.generations.push(("g".into(), 0, 2));
    assert!(generations_are_monotone(&history).is_err());
}

#[test]
fn an_acknowledged_commit_that_goes_back_is_found() {
    let group = Str::from("g");
    let mut history = History::default();
    history.offsets.extend([
        Seen::Acknowledged(group.clone(), 3),
        Seen::Read(group.clone(), 4),
    ]);
    assert!(acknowledged_commits_stay(&history).is_ok());
    history.offsets.push(Seen::Read(group.clone(), 2));
    assert!(acknowledged_commits_stay(&history).is_err());
    history.offsets.insert(2, Seen::Deleted(group));
    assert!(acknowledged_commits_stay(&history).is_ok());
}

#[test]
fn a_request_that_is_never_answered_is_found() {
    let mut world = World::new();
    world.happen(&Event::Act(2));
    world
        .f
        .set_time(world.f.now.monotonic.after(Duration::from_secs(60)));
    assert!(world.no_request_waits_for_ever().is_ok());
    world
        .f
        .set_time(world.f.now.monotonic.after(Duration::from_secs(600)));
    assert!(world.no_request_waits_for_ever().is_err());
}

#[test]
fn a_log_that_misses_a_record_is_found() {
    let mut world = World::new();
    world.happen(&Event::CommitFromOutside(0));
    world.happen(&Event::Durable(1));
    assert!(world.the_log_gives_the_state_again().is_ok());
    world.f.log.clear();
    assert!(world.the_log_gives_the_state_again().is_err());
}

#[test]
fn a_group_that_does_not_get_stable_is_found() {
    let mut world = World::new();
    // Nobody of the second group ever acts: it cannot exist.
    world.people.truncate(4);
    assert!(world.settle().is_err());
}
