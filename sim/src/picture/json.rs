//! A picture as compact JSON, for the page's script: columns rather than objects.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Kind, Meaning, Picture, SpanKind};
use crate::{event::Recording, run::Outcome};

/// What the page's script reads.
#[derive(Debug, Serialize)]
struct Data<'a> {
    command: &'a str,
    seed: u64,
    hash: &'a str,
    events: u64,
    end: u64,
    acknowledged: u64,
    read: u64,
    faults: &'a BTreeMap<&'static str, u64>,
    nodes: Vec<&'a str>,
    kinds: Vec<&'static str>,
    meanings: Vec<(&'static str, &'static str)>,
    #[serde(rename = "spanKinds")]
    span_kinds: Vec<&'static str>,
    lanes: Vec<LaneData<'a>>,
    marks: Marks<'a>,
    /// Lane, begin, end, kind, words.
    spans: Vec<(usize, u64, u64, usize, &'a str)>,
    /// A record's marks and what they mean to it, in turn.
    lives: BTreeMap<String, Vec<usize>>,
    violations: Vec<ViolationData<'a>>,
}

#[derive(Debug, Serialize)]
struct LaneData<'a> {
    name: &'a str,
    heading: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Marks<'a> {
    at: Vec<u64>,
    kind: Vec<usize>,
    node: Vec<u16>,
    lanes: Vec<&'a [usize]>,
    text: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct ViolationData<'a> {
    invariant: &'a str,
    promise: &'a str,
    seen: &'a str,
    #[serde(rename = "promisedAt")]
    promised_at: Option<usize>,
    #[serde(rename = "seenAt")]
    seen_at: Option<usize>,
    record: Option<String>,
}

fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(0)
}

/// The data of a page. It holds no `<`, so that nothing in it can end the element that it stands in.
pub(super) fn data(
    picture: &Picture,
    recording: &Recording,
    outcome: &Outcome,
    command: &str,
) -> String {
    let mut marks = Marks::default();
    for mark in &picture.marks {
        marks.at.push(mark.at);
        marks.kind.push(place(&Kind::ALL, &mark.kind));
        marks.node.push(mark.node.0);
        marks.lanes.push(&mark.lanes);
        marks.text.push(&mark.text);
    }
    let nodes = picture.marks.iter().map(|mark| mark.node.0).max();
    let nodes = (0..=nodes.unwrap_or(0)).map(|node| recording.name(crate::event::NodeId(node)));
    let lives = picture.lives.iter().map(|(key, steps)| {
        let steps = steps.iter();
        let steps = steps.flat_map(|step| [step.mark, place(&Meaning::ALL, &step.meaning)]);
        (key.to_string(), steps.collect())
    });
    let data = Data {
        command,
        seed: outcome.seed,
        hash: &outcome.hash,
        events: outcome.events,
        end: picture.end,
        acknowledged: outcome.acknowledged,
        read: outcome.read,
        faults: &outcome.faults,
        nodes: nodes.collect(),
        kinds: Kind::ALL.iter().map(|kind| kind.name()).collect(),
        meanings: Meaning::ALL.iter().map(|one| one.words()).collect(),
        span_kinds: SpanKind::ALL.iter().map(|kind| kind.name()).collect(),
        lanes: lanes(picture),
        marks,
        spans: picture
            .spans
            .iter()
            .map(|span| {
                let kind = place(&SpanKind::ALL, &span.kind);
                (span.lane, span.from, span.to, kind, &*span.text)
            })
            .collect(),
        lives: lives.collect(),
        violations: violations(picture),
    };
    // Strings are all that can hold a `<`, and an escape stands for it there.
    serde_json::to_string(&data)
        .unwrap_or_default()
        .replace('<', "\\u003c")
}

fn lanes(picture: &Picture) -> Vec<LaneData<'_>> {
    let lanes = picture.lanes.iter().map(|lane| LaneData {
        name: &lane.name,
        heading: lane.kind.heading(),
    });
    lanes.collect()
}

fn violations(picture: &Picture) -> Vec<ViolationData<'_>> {
    let verdicts = picture.verdicts.iter().map(|verdict| ViolationData {
        invariant: verdict.invariant,
        promise: verdict.promise,
        seen: &verdict.seen,
        promised_at: verdict.promised_at,
        seen_at: verdict.seen_at,
        record: verdict.record.as_ref().map(ToString::to_string),
    });
    verdicts.collect()
}
