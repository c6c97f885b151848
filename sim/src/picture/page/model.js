'use strict';
// The run as data: columns of marks, what lasts, lives, violations; and what is picked and shown.
const run = JSON.parse(document.getElementById('run').textContent);
const marks = run.marks;
const kindOf = Object.fromEntries(run.kinds.map((name, index) => [name, index]));

const state = {
  from: 0, to: 1, scroll: 0,
  hidden: new Set([kindOf.disk, kindOf.network]),
  folded: new Set(['Internal partitions']),
  words: '', mark: null, record: null, violation: null, foundLane: null,
};

// The first place in `times` whose time is not before `time`, looking from `low` on.
function lowerBound(times, time, low = 0) {
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1; else high = middle;
  }
  return low;
}

// Each lane's rows: one for each kind that it has anything of, with its marks in order of time.
let lanes = [];
function buildRows() {
  const words = state.words.toLowerCase();
  const rows = run.lanes.map(() => new Map());
  for (let mark = 0; mark < marks.at.length; mark++) {
    const kind = marks.kind[mark];
    if (state.hidden.has(kind)) continue;
    if (words && !marks.text[mark].toLowerCase().includes(words) && mark !== state.mark) continue;
    for (const lane of marks.lanes[mark]) {
      if (!rows[lane].has(kind)) rows[lane].set(kind, []);
      rows[lane].get(kind).push(mark);
    }
  }
  lanes = run.lanes.map((lane, index) => ({
    name: lane.name, heading: lane.heading, index,
    rows: [...rows[index].entries()].sort((a, b) => a[0] - b[0]).map(([kind, list]) => ({
      kind, marks: list, times: Float64Array.from(list, (mark) => marks.at[mark]),
    })),
    ...tracks(run.spans.filter((span) => span[0] === index)),
  }));
}

// What a lane's node or replica is goes on its first bar, what befalls it or what it holds on a second.
function tracks(spans) {
  const second = (span) => ['fault', 'holding'].includes(run.spanKinds[span[3]]);
  const bars = [spans.filter((span) => !second(span)), spans.filter(second)];
  return { bars: bars.filter((bar) => bar.length > 0) };
}

// The records that a mark concerns; the table is made when it is first wanted.
let recordsOf = null;
function recordsAt(mark) {
  if (!recordsOf) {
    recordsOf = new Map();
    for (const [record, steps] of Object.entries(run.lives)) {
      for (let at = 0; at < steps.length; at += 2) {
        if (!recordsOf.has(steps[at])) recordsOf.set(steps[at], []);
        recordsOf.get(steps[at]).push(record);
      }
    }
  }
  return recordsOf.get(mark) || [];
}

// A record's life: its marks, and what each means to it.
function lifeOf(record) {
  const steps = run.lives[record] || [];
  const life = [];
  for (let at = 0; at < steps.length; at += 2) {
    const [word, means] = run.meanings[steps[at + 1]];
    life.push({ mark: steps[at], word, means });
  }
  return life;
}

// The records of that name: one, or one in each partition.
function recordsNamed(name) {
  if (run.lives[name]) return [name];
  return Object.keys(run.lives).filter((record) => record.startsWith(name + '@'));
}

function seconds(nanos, digits = 6) {
  return (nanos / 1e9).toFixed(digits) + ' s';
}

// A way to colours that follows light and dark.
let palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  palette = new Proxy({}, {
    get(known, name) {
      if (!(name in known)) known[name] = style.getPropertyValue('--' + name).trim();
      return known[name];
    },
  });
}
const colourName = (kind) => run.kinds[kind].replaceAll(' ', '-');
const spanColour = { starting: 'starting', up: 'up', down: 'down', fault: 'faulty', recovering: 'recovering', leading: 'leading', holding: 'holding' };
