// Where everything is: time to pixels, lanes to heights.
const canvas = document.getElementById('lanes');
const map = document.getElementById('map');
const AXIS = 24, ROW = 11, BAR = 13, HEADING = 20, GAP = 5;
let size = { width: 1, height: 1 };
let content = 0;

function fitCanvas(element) {
  const ratio = window.devicePixelRatio || 1;
  const box = element.getBoundingClientRect();
  element.width = Math.max(1, Math.round(box.width * ratio));
  element.height = Math.max(1, Math.round(box.height * ratio));
  const pen = element.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { pen, width: box.width, height: box.height };
}

const xOf = (at) => (at - state.from) / (state.to - state.from) * size.width;
const timeAt = (x) => state.from + x / size.width * (state.to - state.from);

// Gives each lane its place, from the top of the content down; a folded heading hides its lanes.
let headings = [];
function placeLanes() {
  let y = 0, heading = null;
  headings = [];
  for (const lane of lanes) {
    if (lane.heading !== heading) {
      heading = lane.heading;
      headings.push({ name: heading, top: y });
      y += HEADING;
    }
    lane.shown = !state.folded.has(heading);
    if (!lane.shown) continue;
    lane.top = y;
    lane.bar = lane.bars.length * BAR;
    lane.height = Math.max(24, lane.bar + lane.rows.length * ROW + GAP);
    y += lane.height;
  }
  content = y;
  const room = Math.max(0, content - (size.height - AXIS));
  state.scroll = Math.min(Math.max(0, state.scroll), room);
}

const laneY = (lane) => AXIS + lane.top - state.scroll;
const rowY = (lane, row) => laneY(lane) + lane.bar + row * ROW + ROW / 2 + 2;

// Where a mark is drawn: one place for each of its lanes that is shown.
function placesOf(mark) {
  const places = [];
  for (const number of marks.lanes[mark]) {
    const lane = lanes[number];
    if (!lane.shown) continue;
    const row = lane.rows.findIndex((one) => one.kind === marks.kind[mark]);
    if (row >= 0) places.push({ x: xOf(marks.at[mark]), y: rowY(lane, row), lane });
  }
  return places;
}

// The mark nearest to a point, if one is near.
function markNear(x, y) {
  let best = null, distance = 7;
  for (const lane of lanes) {
    if (!lane.shown || y < laneY(lane) || y > laneY(lane) + lane.height) continue;
    lane.rows.forEach((row, index) => {
      const away = Math.abs(rowY(lane, index) - y);
      if (away > ROW / 2 + 1) return;
      const at = lowerBound(row.times, timeAt(x));
      for (const near of [at - 1, at]) {
        if (near < 0 || near >= row.marks.length) continue;
        const far = Math.abs(xOf(row.times[near]) - x) + away / 4;
        if (far < distance) { distance = far; best = row.marks[near]; }
      }
    });
  }
  return best;
}

// How many marks of a row lie under the same pixels as one of them.
function marksBeside(mark) {
  const x = Math.floor(xOf(marks.at[mark]));
  return Math.max(...marks.lanes[mark].map((number) => {
    const row = lanes[number].rows.find((one) => one.kind === marks.kind[mark]);
    return row ? lowerBound(row.times, timeAt(x + 1)) - lowerBound(row.times, timeAt(x)) : 0;
  }));
}

// The span at a point, for its words.
function spanAt(x, y) {
  const time = timeAt(x);
  const lane = lanes.find((one) => one.shown && y >= laneY(one) && y < laneY(one) + one.bar);
  if (!lane) return null;
  const bar = lane.bars[Math.floor((y - laneY(lane)) / BAR)];
  return bar.filter((span) => span[1] <= time && time <= span[2]).pop() || null;
}

// Shows a stretch of time, within the run and not closer than a microsecond.
function show(from, to) {
  const whole = run.end * 1.01 + 1;
  const length = Math.min(whole, Math.max(1000, to - from));
  state.from = Math.min(Math.max(from, -whole * 0.005), whole - length);
  state.to = state.from + length;
}

function zoom(factor, x = size.width / 2) {
  const time = timeAt(x);
  show(time - (time - state.from) * factor, time + (state.to - time) * factor);
}

// Brings marks into view: their times with room around them, and their lanes.
function reveal(wanted, closest = 2e8) {
  if (wanted.length === 0) return;
  const times = wanted.map((mark) => marks.at[mark]);
  const first = Math.min(...times), last = Math.max(...times);
  const room = Math.max((last - first) * 0.15, closest);
  show(first - room, last + room);
  const heading = lanes[marks.lanes[wanted[0]].at(-1)].heading;
  state.folded.delete(heading);
  placeLanes();
  const places = wanted.flatMap((mark) => placesOf(mark));
  const inPartitions = places.filter((place) => place.lane.heading === 'Partitions');
  const ys = (inPartitions.length > 0 ? inPartitions : places).map((place) => place.y);
  if (ys.length > 0 && (Math.min(...ys) < AXIS || Math.max(...ys) > size.height)) {
    state.scroll += Math.min(...ys) - AXIS - 40;
    placeLanes();
  }
}
