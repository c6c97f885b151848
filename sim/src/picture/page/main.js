// What a person does: keys, pointer, fields.
let wanted = false;
function refresh() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; drawLanes(); drawMap(); writeNames(); });
}
function rebuild() { buildRows(); refresh(); }
function writePanels() { writeViolations(); writeDetail(); writeLife(); }

// Makes sure that a mark's kind is shown.
function uncover(list) {
  const before = state.hidden.size;
  for (const mark of list) state.hidden.delete(marks.kind[mark]);
  if (state.hidden.size !== before) writeKinds();
  if (state.words) { state.words = ''; document.getElementById('filter').value = ''; }
  buildRows();
}

function pick(mark, centre = false) {
  state.mark = mark;
  if (mark !== null) {
    const records = recordsAt(mark);
    if (records.length === 1) [state.record] = records;
    if (centre) {
      uncover([mark]);
      const half = (state.to - state.from) / 2;
      show(marks.at[mark] - half, marks.at[mark] + half);
    }
  }
  writePanels();
  refresh();
}

function follow(record) {
  const life = lifeOf(record).map((step) => step.mark);
  state.record = record;
  state.mark = null;
  uncover(life);
  // Commits and the last readings may lie far behind what is worth seeing closely.
  const late = [kindOf['last reading'], kindOf.commit];
  const early = life.filter((mark) => !late.includes(marks.kind[mark]));
  reveal(early.length > 0 ? early : life, 2e7);
  writePanels();
  refresh();
}

function jump(index) {
  const one = run.violations[index];
  state.violation = index;
  state.record = one.record;
  state.mark = one.seenAt ?? one.promisedAt;
  const both = [one.promisedAt, one.seenAt].filter((mark) => mark !== null);
  uncover(both.concat(one.record ? lifeOf(one.record).map((step) => step.mark) : []));
  reveal(both);
  writePanels();
  document.querySelector('.violation.current')?.scrollIntoView({ block: 'nearest' });
  refresh();
}

function step(by) {
  const life = lifeOf(state.record || '');
  if (life.length === 0) return;
  const at = life.findIndex((one) => one.mark === state.mark);
  const next = at < 0 ? (by > 0 ? 0 : life.length - 1) : at + by;
  if (life[next]) pick(life[next].mark, true);
}

function letGo() {
  Object.assign(state, { mark: null, record: null, violation: null, foundLane: null });
  writePanels();
  refresh();
}

function search(text) {
  const records = recordsNamed(text.trim());
  if (records.length > 0) { follow(records[0]); return true; }
  const lane = lanes.find((one) => one.name === text.trim()) || lanes.find((one) => one.name.includes(text.trim()));
  if (!text.trim() || !lane) return false;
  state.foundLane = lane.index;
  state.folded.delete(lane.heading);
  placeLanes();
  state.scroll = lane.top - 60;
  refresh();
  return true;
}

const searchField = document.getElementById('search');
const filterField = document.getElementById('filter');
searchField.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  searchField.setCustomValidity(search(searchField.value) ? '' : 'There is no record and no lane of this name.');
  searchField.reportValidity();
});
searchField.addEventListener('input', () => searchField.setCustomValidity(''));
filterField.addEventListener('input', () => { state.words = filterField.value; rebuild(); });
document.getElementById('in').addEventListener('click', () => { zoom(0.5); refresh(); });
document.getElementById('out').addEventListener('click', () => { zoom(2); refresh(); });
document.getElementById('fit').addEventListener('click', () => { show(0, Infinity); refresh(); });

const keys = {
  ArrowLeft: () => show(state.from - (state.to - state.from) * 0.2, state.to - (state.to - state.from) * 0.2),
  ArrowRight: () => show(state.from + (state.to - state.from) * 0.2, state.to + (state.to - state.from) * 0.2),
  ArrowUp: () => { state.scroll -= 60; },
  ArrowDown: () => { state.scroll += 60; },
  '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => show(0, Infinity),
  f: () => filterField.focus(), '/': () => searchField.focus(),
  n: () => turn(1), p: () => turn(-1), '[': () => step(-1), ']': () => step(1), Escape: letGo,
};
function turn(by) {
  const count = run.violations.length;
  if (count === 0) return;
  const from = state.violation ?? (by > 0 ? -1 : count);
  jump((from + by + count) % count);
}
window.addEventListener('keydown', (event) => {
  if (event.target.tagName === 'INPUT') {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
  refresh();
});

let drag = null;
canvas.addEventListener('pointerdown', (event) => {
  drag = { x: event.offsetX, y: event.offsetY, from: state.from, to: state.to, scroll: state.scroll, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener('pointermove', (event) => {
  if (!drag) { hover(event.offsetX, event.offsetY); return; }
  const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
  if (Math.abs(dx) + Math.abs(dy) > 4) drag.moved = true;
  if (!drag.moved) return;
  const by = -dx / size.width * (drag.to - drag.from);
  show(drag.from + by, drag.to + by);
  state.scroll = drag.scroll - dy;
  refresh();
});
canvas.addEventListener('pointerup', (event) => {
  if (drag && !drag.moved) pick(markNear(event.offsetX, event.offsetY));
  drag = null;
});
canvas.addEventListener('pointercancel', () => { drag = null; });
canvas.addEventListener('pointerleave', () => { document.getElementById('tip').hidden = true; });
canvas.addEventListener('dblclick', (event) => { zoom(0.4, event.offsetX); refresh(); });

function wheel(event) {
  event.preventDefault();
  if (event.ctrlKey || event.metaKey || (event.offsetY < AXIS && event.target === canvas)) {
    zoom(Math.exp(event.deltaY * 0.002), event.target === canvas ? event.offsetX : undefined);
  } else {
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    const by = across / size.width * (state.to - state.from);
    if (across) show(state.from + by, state.to + by);
    if (!event.shiftKey) state.scroll += event.deltaY;
  }
  refresh();
}
canvas.addEventListener('wheel', wheel, { passive: false });
document.getElementById('names').addEventListener('wheel', wheel, { passive: false });

function moveMap(event) {
  const middle = event.offsetX / map.clientWidth * (run.end * 1.01 + 1);
  const half = (state.to - state.from) / 2;
  show(middle - half, middle + half);
  refresh();
}
map.addEventListener('pointerdown', (event) => { map.setPointerCapture(event.pointerId); moveMap(event); });
map.addEventListener('pointermove', (event) => { if (event.buttons) moveMap(event); });

function hover(x, y) {
  const tip = document.getElementById('tip');
  const mark = markNear(x, y);
  const span = mark === null ? spanAt(x, y) : null;
  tip.hidden = mark === null && !span;
  if (tip.hidden) return;
  const beside = mark === null ? 0 : marksBeside(mark) - 1;
  const more = beside > 0 ? ` (and ${beside} more here: zoom in, or filter by words)` : '';
  const [time, words] = mark !== null
    ? [seconds(marks.at[mark], 9) + more, marks.text[mark]]
    : [`${seconds(span[1])} to ${seconds(span[2])}`, span[4]];
  tip.replaceChildren(element('span', { class: 'time' }, time), element('div', {}, words));
  const left = canvas.offsetLeft + x + 14;
  tip.style.left = `${Math.max(0, Math.min(left, canvas.offsetLeft + size.width - tip.offsetWidth - 6))}px`;
  tip.style.top = `${Math.min(y + 14, size.height - tip.offsetHeight - 6)}px`;
}

window.addEventListener('resize', refresh);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readPalette(); refresh(); });

readPalette();
show(0, Infinity);
writeHeader();
writeKinds();
buildRows();
writePanels();
refresh();
