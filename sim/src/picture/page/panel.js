// What stands beside the lanes as text: names, violations, a record's life, the event that was picked.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'click') made.addEventListener('click', value);
    else if (name === 'colour') made.style.setProperty('--kind', `var(--${value})`);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function writeHeader() {
  const failed = run.violations.length > 0;
  const result = document.getElementById('result');
  result.textContent = failed ? 'FAILED' : 'passed';
  result.className = failed ? 'failed' : '';
  document.getElementById('command').textContent = run.command;
  const number = (value) => value.toLocaleString('en');
  const faults = Object.entries(run.faults).map(([kind, count]) => `${count} ${kind}`).join(', ');
  document.getElementById('facts').textContent =
    `${number(run.events)} events in ${seconds(run.end, run.end < 1e9 ? 3 : 1)} of virtual time; `
    + `${number(run.acknowledged)} records acknowledged, ${number(run.read)} read; `
    + `faults: ${faults || 'none'}; hash ${run.hash}`;
}

function writeNames() {
  const list = document.getElementById('namelist');
  list.replaceChildren();
  list.style.top = `${AXIS - state.scroll}px`;
  for (const heading of headings) {
    const folded = state.folded.has(heading.name);
    list.append(element('button', {
      class: folded ? 'heading folded' : 'heading', type: 'button',
      style: `top:${heading.top}px;height:${HEADING}px`, 'aria-expanded': String(!folded),
      click: () => { if (folded) state.folded.delete(heading.name); else state.folded.add(heading.name); refresh(); },
    }, heading.name));
  }
  for (const lane of lanes) {
    if (!lane.shown) continue;
    const found = state.foundLane === lane.index;
    const name = element('div', {
      class: found ? 'lane found' : 'lane', title: lane.name,
      style: `top:${lane.top}px;height:${lane.height}px`,
    }, element('b', {}, lane.name));
    lane.rows.forEach((row, index) => {
      name.append(element('i', {
        style: `top:${lane.bar + index * ROW + 2}px`, colour: colourName(row.kind),
      }, run.kinds[row.kind]));
    });
    list.append(name);
  }
}

function writeKinds() {
  const place = document.getElementById('kinds');
  place.replaceChildren();
  const counts = new Array(run.kinds.length).fill(0);
  for (const kind of marks.kind) counts[kind] += 1;
  run.kinds.forEach((name, kind) => {
    if (counts[kind] === 0) return;
    place.append(element('button', {
      type: 'button', colour: colourName(kind), title: `${counts[kind].toLocaleString('en')} events`,
      'aria-pressed': String(!state.hidden.has(kind)),
      click: () => {
        if (state.hidden.has(kind)) state.hidden.delete(kind); else state.hidden.add(kind);
        writeKinds(); rebuild();
      },
    }, name));
  });
}

function writeViolations() {
  const place = document.getElementById('violations');
  const count = run.violations.length;
  place.replaceChildren(element('h2', {}, count === 0 ? 'Verdict' : `Violations (${count})`));
  if (count === 0) {
    place.append(element('p', { class: 'calm' }, 'Every invariant held: nothing that was promised was broken.'));
  }
  const list = element('div', { class: 'list' });
  place.append(list);
  run.violations.forEach((one, index) => {
    // Of many only the one that is looked at is told in full.
    const short = count > 2 && index !== state.violation;
    const buttons = [];
    if (one.seenAt !== null || one.promisedAt !== null) {
      buttons.push(element('button', { type: 'button', class: 'jump', click: () => jump(index) }, 'show where'));
    }
    if (one.record) {
      buttons.push(element('button', { type: 'button', click: () => follow(one.record) }, `follow ${one.record}`));
    }
    const seen = element('p', {}, element('b', {}, 'Seen: '), one.seen);
    const promised = element('p', {}, element('b', {}, 'Promised: '), one.promise);
    list.append(element('div', { class: index === state.violation ? 'violation current' : 'violation' },
      element('h3', {}, `${index + 1}. ${one.invariant.replaceAll('_', ' ')}`),
      ...(short ? [seen, ...buttons.slice(0, 1)] : [promised, seen, ...moments(one), ...buttons])));
  });
}

// When a violation was promised and seen.
function moments(one) {
  const told = [];
  if (one.promisedAt !== null) told.push(`promised at ${seconds(marks.at[one.promisedAt])}`);
  if (one.seenAt !== null) told.push(`seen at ${seconds(marks.at[one.seenAt])}`);
  return told.length > 0 ? [element('div', { class: 'time' }, told.join(', '))] : [];
}

// The steps that no record should meet.
const harm = ['MISSING', 'lost', 'torn', 'cut'];

function writeLife() {
  const place = document.getElementById('life');
  place.replaceChildren();
  if (!state.record) {
    place.append(element('h2', {}, 'A record’s life'),
      element('p', { class: 'hint' }, 'Pick an event, or write a record’s name such as p1001#17 into the first field: it is followed from its producer to whoever read it.'));
    return;
  }
  place.append(element('h2', {}, 'The life of ', element('code', {}, state.record)));
  const list = element('ol', { class: 'steps' });
  for (const step of lifeOf(state.record)) {
    list.append(element('li', {
      class: step.mark === state.mark ? 'step current' : 'step',
      colour: harm.includes(step.word) ? 'violation' : colourName(marks.kind[step.mark]),
      click: () => pick(step.mark, true),
    },
    element('span', { class: 'node' }, run.nodes[marks.node[step.mark]]),
    element('strong', {}, step.word),
    element('span', { class: 'time' }, seconds(marks.at[step.mark])),
    element('div', { class: 'words' }, marks.text[step.mark]),
    element('div', { class: 'means' }, step.means)));
  }
  place.append(list);
  const name = state.record.split('@')[0];
  const others = recordsNamed(name).filter((record) => record !== state.record);
  if (others.length > 0) {
    place.append(element('p', { class: 'hint' }, 'The same name in another partition is another record:'), links(others));
  }
}

function links(records) {
  return element('div', { class: 'links' }, ...records.slice(0, 24).map((record) =>
    element('button', { type: 'button', click: () => follow(record) }, record)));
}

function writeDetail() {
  const place = document.getElementById('detail');
  const mark = state.mark;
  place.hidden = mark === null;
  if (mark === null) return;
  place.replaceChildren(element('h2', {}, `Event: ${run.kinds[marks.kind[mark]]}`),
    element('div', { class: 'time' }, `${seconds(marks.at[mark], 9)} on ${run.nodes[marks.node[mark]]}`),
    element('p', { class: 'words' }, marks.text[mark]));
  const records = recordsAt(mark);
  if (records.length > 1) {
    const more = records.length > 24 ? `, the first 24 of ${records.length}` : '';
    place.append(element('p', { class: 'hint' }, `Records that it concerns${more}:`), links(records));
  }
}
