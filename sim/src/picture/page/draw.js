// Drawing: lanes, marks, what is picked, and the map of the whole run.
function niceStep(span, room) {
  const raw = span / Math.max(1, room);
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= raw);
}

function drawAxis(pen) {
  pen.fillStyle = palette.panel;
  pen.fillRect(0, 0, size.width, AXIS);
  const step = niceStep(state.to - state.from, size.width / 110);
  const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / 1e9))));
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  for (let at = Math.ceil(state.from / step) * step; at <= state.to; at += step) {
    const x = Math.round(xOf(at)) + 0.5;
    pen.strokeStyle = palette.line;
    pen.beginPath(); pen.moveTo(x, AXIS - 5); pen.lineTo(x, size.height); pen.stroke();
    pen.fillStyle = palette.dim;
    if (at >= 0) pen.fillText(seconds(at, digits), x + 3, AXIS / 2);
  }
}

function drawSpans(pen, lane) {
  pen.font = '10.5px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  lane.bars.forEach((bar, track) => drawBar(pen, lane, bar, laneY(lane) + track * BAR));
}

function drawBar(pen, lane, bar, y) {
  for (const [, from, to, kind, words] of bar) {
    if (to < state.from || from > state.to) continue;
    const left = Math.max(0, xOf(from)), right = Math.min(size.width, xOf(to));
    const width = Math.max(2, right - left);
    const name = run.spanKinds[kind];
    pen.fillStyle = palette[spanColour[name]];
    pen.fillRect(left, y + 1, width, BAR - 2);
    if (name === 'fault' || name === 'down') {
      pen.globalAlpha = 0.35;
      pen.fillRect(left, laneY(lane) + 1, width, lane.height - 1);
      pen.globalAlpha = 1;
    }
    if (width > 34) {
      pen.save();
      pen.beginPath(); pen.rect(left, y, width - 3, BAR); pen.clip();
      pen.fillStyle = palette.text;
      pen.fillText(words, left + 4, y + BAR / 2 + 0.5);
      pen.restore();
    }
  }
}

// One tick a column of pixels: the more marks it stands for, the taller.
function drawRow(pen, lane, row, index) {
  const y = rowY(lane, index);
  const { times } = row;
  pen.fillStyle = palette[colourName(row.kind)];
  const strong = row.kind === kindOf.fault || row.kind === kindOf.violation;
  let at = lowerBound(times, state.from - (state.to - state.from) * 0.01);
  while (at < times.length && times[at] <= state.to) {
    const x = Math.floor(xOf(times[at]));
    const end = timeAt(x + 1);
    let next = at + 1;
    if (next < times.length && times[next] < end) next = lowerBound(times, end, next);
    const height = Math.min(ROW - 1, (strong ? 8 : 5.5) + Math.log2(next - at) * 1.2);
    pen.fillRect(x - 0.5, y - height / 2, strong ? 3 : 2, height);
    at = Math.max(next, at + 1);
  }
}

function drawFaultLines(pen) {
  pen.strokeStyle = palette.fault;
  pen.setLineDash([2, 3]);
  pen.globalAlpha = 0.55;
  for (const lane of lanes) {
    const row = lane.heading === 'Nodes' && lane.rows.find((one) => one.kind === kindOf.fault);
    if (!row || row.times.length > 400) continue;
    for (const time of row.times) {
      if (time < state.from || time > state.to) continue;
      const x = Math.round(xOf(time)) + 0.5;
      pen.beginPath(); pen.moveTo(x, AXIS); pen.lineTo(x, size.height); pen.stroke();
    }
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawFlags(pen) {
  const flag = (mark, words, colour) => {
    if (mark === null) return;
    const x = Math.round(xOf(marks.at[mark])) + 0.5;
    if (x < 0 || x > size.width) return;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1.5;
    pen.beginPath(); pen.moveTo(x, 6); pen.lineTo(x, size.height); pen.stroke();
    pen.font = 'bold 11px system-ui, sans-serif';
    const width = pen.measureText(words).width + 8;
    const left = Math.min(x, size.width - width);
    pen.fillRect(left, 4, width, 15);
    pen.fillStyle = palette.panel;
    pen.textBaseline = 'middle';
    pen.fillText(words, left + 4, 12);
    pen.lineWidth = 1;
  };
  const picked = state.violation;
  run.violations.forEach((one, index) => {
    if (index !== picked && (one.seenAt ?? one.promisedAt) !== null && run.violations.length < 40) {
      flag(one.seenAt ?? one.promisedAt, String(index + 1), palette.violation);
    }
  });
  if (picked !== null) {
    const one = run.violations[picked];
    flag(one.promisedAt, 'promised', palette.acknowledged);
    flag(one.seenAt, 'seen', palette.violation);
  }
}

function drawPicked(pen) {
  if (state.record) {
    const places = lifeOf(state.record).flatMap((step) => {
      const all = placesOf(step.mark);
      return all.length > 0 ? [{ ...all.at(-1), all, mark: step.mark }] : [];
    });
    pen.strokeStyle = palette.text;
    pen.lineWidth = 1.5;
    pen.globalAlpha = 0.6;
    pen.beginPath();
    const path = places.filter((place) => place.lane.heading === 'Partitions');
    path.forEach((place, index) => index ? pen.lineTo(place.x, place.y) : pen.moveTo(place.x, place.y));
    pen.stroke();
    pen.globalAlpha = 1;
    for (const place of places) {
      for (const { x, y } of place.all) ring(pen, x, y, palette[colourName(marks.kind[place.mark])], 5);
    }
    pen.lineWidth = 1;
  }
  if (state.mark !== null) {
    for (const { x, y } of placesOf(state.mark)) ring(pen, x, y, palette.text, 8);
  }
}

function ring(pen, x, y, colour, radius) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI); pen.stroke();
  pen.lineWidth = 1;
}

function drawLanes() {
  const fitted = fitCanvas(canvas);
  const pen = fitted.pen;
  size = fitted;
  placeLanes();
  pen.fillStyle = palette.ground;
  pen.fillRect(0, 0, size.width, size.height);
  pen.save();
  pen.beginPath(); pen.rect(0, AXIS, size.width, size.height); pen.clip();
  for (const lane of lanes) {
    if (!lane.shown) continue;
    const y = laneY(lane);
    if (y > size.height || y + lane.height < 0) continue;
    pen.fillStyle = lane.index % 2 ? palette.lane : palette.panel;
    pen.fillRect(0, y, size.width, lane.height);
  }
  pen.restore();
  drawAxis(pen);
  pen.save();
  pen.beginPath(); pen.rect(0, AXIS, size.width, size.height); pen.clip();
  for (const lane of lanes) {
    if (!lane.shown || laneY(lane) > size.height || laneY(lane) + lane.height < 0) continue;
    pen.strokeStyle = palette.line;
    pen.beginPath(); pen.moveTo(0, laneY(lane) + 0.5); pen.lineTo(size.width, laneY(lane) + 0.5); pen.stroke();
    drawSpans(pen, lane);
    lane.rows.forEach((row, index) => drawRow(pen, lane, row, index));
  }
  drawFaultLines(pen);
  drawPicked(pen);
  pen.restore();
  drawFlags(pen);
}

// How much happened, over the whole run.
let density = null;
function drawMap() {
  const { pen, width, height } = fitCanvas(map);
  const whole = run.end * 1.01 + 1;
  if (!density || density.length !== Math.ceil(width)) {
    density = new Float64Array(Math.ceil(width));
    for (let mark = 0; mark < marks.at.length; mark++) {
      density[Math.floor(marks.at[mark] / whole * width)] += 1;
    }
  }
  const most = Math.log2(density.reduce((a, b) => Math.max(a, b), 1) + 1);
  pen.fillStyle = palette.panel;
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = palette.network;
  density.forEach((count, x) => {
    const tall = Math.log2(count + 1) / most * (height - 12);
    pen.fillRect(x, height - tall, 1, tall);
  });
  for (let mark = 0; mark < marks.at.length; mark++) {
    if (marks.kind[mark] !== kindOf.fault) continue;
    pen.fillStyle = palette.fault;
    pen.fillRect(marks.at[mark] / whole * width - 1, height - 10, 2, 10);
  }
  run.violations.forEach((one) => {
    const mark = one.seenAt ?? one.promisedAt;
    if (mark === null) return;
    pen.fillStyle = palette.violation;
    const x = marks.at[mark] / whole * width;
    pen.beginPath(); pen.moveTo(x - 5, 0); pen.lineTo(x + 5, 0); pen.lineTo(x, 9); pen.fill();
  });
  const left = state.from / whole * width, right = state.to / whole * width;
  pen.fillStyle = palette.accent;
  pen.globalAlpha = 0.16;
  pen.fillRect(left, 0, Math.max(3, right - left), height);
  pen.globalAlpha = 1;
  pen.strokeStyle = palette.accent;
  pen.strokeRect(left + 0.5, 0.5, Math.max(3, right - left) - 1, height - 1);
}
