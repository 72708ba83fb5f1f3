// Draws the charts, the timeline and the space-time diagram of a report, from the JSON in #data.
//
// One window of time holds for the timeline and the space-time diagram; the charts show the whole
// test, and mark that window. All times are microseconds.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // The rows of the JSON as objects. See `data.rs` for the order of their fields.
  const OUTCOMES = ["ok", "failed", "unknown outcome", "no end"];
  const OUTCOME_COLORS = ["--ok", "--fail", "--info", "--open"];
  const ops = data.ops.map(([thread, process, f, start, end, outcome, value, error, final, from, to], i) =>
    ({ i, thread, process, f: data.functions[f], start, end, outcome, value, error, final, from, to }));
  const messages = data.messages.map(([src, dest, type, sent, end, fate, body, id, re, client], i) =>
    ({ i, src, dest, type, sent, end, fate, body, id, re, client }));
  const evidence = new Set(data.evidence);
  const LAST_FATE = data.fates.length - 1;
  const endOfMessage = (m) => m.end ?? data.end;
  const CLIENTS = 0;

  const root = document.documentElement;
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // The colour with this name, with a part of another one.
  const rgb = (name) => {
    const hex = color(name).slice(1);
    const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
    return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
  };
  const mixed = (name, [other, part]) => {
    const more = rgb(other);
    return `rgb(${rgb(name).map((one, at) => Math.round(one + (more[at] - one) * part)).join(", ")})`;
  };
  const element = (tag, props = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), props);
    made.append(...children);
    return made;
  };
  const seconds = (t) => (t / 1e6).toFixed(6).replace(/0{1,4}$/, "") + " s";
  const span = (t) => t >= 1e6 ? (t / 1e6).toPrecision(4) + " s"
    : t >= 1e3 ? (t / 1e3).toPrecision(4) + " ms" : Math.round(t) + " µs";

  // The first place in a list that is sorted by `key` whose key is not below `value`.
  const lowerBound = (list, value, key) => {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (key(list[middle]) < value) low = middle + 1; else high = middle;
    }
    return low;
  };

  // ---- What is shown: a window of time and a selected thing. Views draw themselves anew.

  const begin = Math.min(0, messages.length ? messages[0].sent : 0, ...data.events.slice(0, 1).map((e) => e[0]));
  const whole = { from: begin, to: Math.max(data.end, begin + 1000) };
  const view = { ...whole };
  let selected = null;
  const views = [];
  const draw = () => { for (const one of views) one(); };
  const setWindow = (from, to) => {
    const length = Math.max(Math.min(to - from, whole.to - whole.from), 20);
    view.from = Math.min(Math.max(from, whole.from), whole.to - length);
    view.to = view.from + length;
    requestAnimationFrame(draw);
  };
  const zoom = (factor, at = (view.from + view.to) / 2) =>
    setWindow(at - (at - view.from) * factor, at + (view.to - at) * factor);
  const around = (from, to) => {
    const margin = Math.max((to - from) * 0.3, (whole.to - whole.from) / 200);
    setWindow(from - margin, to + margin);
  };

  // ---- Likely causes and effects of messages.

  const byDelivery = data.lines.map(() => []);
  const bySending = data.lines.map(() => []);
  for (const m of messages) {
    bySending[m.src].push(m);
    if (m.fate === 0) byDelivery[m.dest].push(m);
  }
  for (const list of byDelivery) list.sort((a, b) => a.end - b.end);
  // A message has its effects at once. Messages after this time have another cause.
  const REACTION = 1500;
  const pair = (a, b, id, client) => [a, b, id, client || ""].join(" ");
  const requests = new Map();
  const replies = new Map();
  for (const m of messages) {
    if (m.id != null) requests.set(pair(m.src, m.dest, m.id, m.client), m);
    if (m.re != null) {
      const key = pair(m.dest, m.src, m.re, m.client);
      if (!replies.has(key)) replies.set(key, m);
    }
  }
  const requestOf = (m) => {
    const request = m.re == null ? null : requests.get(pair(m.dest, m.src, m.re, m.client));
    return request && request.sent <= m.sent ? request : null;
  };
  const replyTo = (m) => m.id == null ? null : replies.get(pair(m.src, m.dest, m.id, m.client));
  const causesOf = (m) => {
    const found = new Set();
    const request = requestOf(m);
    if (request) found.add(request);
    if (m.src !== CLIENTS) {
      const list = byDelivery[m.src];
      const last = list[lowerBound(list, m.sent + 1, (x) => x.end) - 1];
      if (last && m.sent - last.end <= REACTION) found.add(last);
    }
    return [...found];
  };
  const effectsOf = (m) => {
    const found = new Set();
    const reply = replyTo(m);
    if (reply) found.add(reply);
    if (m.fate === 0 && m.dest !== CLIENTS) {
      const inbox = byDelivery[m.dest];
      const next = inbox[lowerBound(inbox, m.end + 1, (x) => x.end)];
      const until = Math.min(m.end + REACTION, next ? next.end - 1 : Infinity);
      const sent = bySending[m.dest];
      for (let at = lowerBound(sent, m.end, (x) => x.sent); at < sent.length && sent[at].sent <= until; at++) {
        found.add(sent[at]);
      }
    }
    return [...found];
  };
  const CHAIN_MAX = 400;
  const chain = (first, next) => {
    const all = new Set(), queue = [first];
    while (queue.length && all.size < CHAIN_MAX) {
      for (const m of next(queue.shift())) if (!all.has(m) && m !== first) { all.add(m); queue.push(m); }
    }
    return all;
  };
  // The messages between the client of an operation and its node while the operation ran.
  const messagesOf = (op) => {
    const until = op.end < 0 ? data.end : op.end;
    const node = 1 + op.thread % data.nodes;
    const found = [];
    // Of operations that began at once on one node, the first one in the history has the first client.
    const rivals = ops.filter((one) => one.start === op.start && 1 + one.thread % data.nodes === node);
    const rank = rivals.sort((a, b) => a.from - b.from).indexOf(op);
    const clients = new Set();
    for (let at = lowerBound(messages, op.start, (m) => m.sent); at < messages.length; at++) {
      const m = messages[at];
      if (m.sent > until) break;
      if (m.sent === op.start && m.src === CLIENTS && m.dest === node) clients.add(m.client);
      if (m.client != null && m.client === [...clients][rank]) found.push(m);
    }
    return found;
  };

  let causes = new Set(), effects = new Set();
  // The messages of the selected operation, or the selected message.
  let own = [];
  // The only messages in the diagram: those of the selection, with their causes and effects.
  let only = null;
  const panel = document.getElementById("selected");
  const select = (thing, show = true) => {
    selected = thing;
    causes = new Set();
    effects = new Set();
    only = null;
    own = !thing ? [] : thing.message ? [thing.message] : messagesOf(thing.op);
    if (thing && thing.message) {
      causes = chain(thing.message, causesOf);
      effects = chain(thing.message, effectsOf);
      const m = thing.message;
      if (show && (m.sent < view.from || m.sent > view.to)) around(m.sent, Math.max(endOfMessage(m), m.sent));
    }
    if (thing && thing.op) {
      for (const m of own) for (const effect of chain(m, effectsOf)) effects.add(effect);
    }
    if (thing && thing.op && show) {
      const { start, end } = thing.op;
      if (start > view.to || end < view.from) around(start, Math.max(end, start));
    }
    fillPanel();
    requestAnimationFrame(draw);
  };
  const describe = (m) =>
    `${data.types[m.type] || "?"}: ${m.src === CLIENTS ? m.client : data.lines[m.src]} → ` +
    `${m.dest === CLIENTS ? m.client : data.lines[m.dest]}`;
  const pretty = (text) => {
    try { return JSON.stringify(JSON.parse(text), null, 1); } catch { return text; }
  };
  const linkTo = (thing, text) =>
    element("li", {}, element("button", { textContent: text, onclick: () => select(thing) }));
  const onlyButton = () => {
    const button = element("button", { className: "only", textContent: "Show only these messages" });
    button.title = "In the space-time diagram: of this selection, with likely causes and effects";
    button.setAttribute("aria-pressed", "false");
    button.onclick = () => {
      only = only ? null : new Set([...own, ...causes, ...effects]);
      button.setAttribute("aria-pressed", String(only !== null));
      requestAnimationFrame(draw);
    };
    return own.length ? [button] : [];
  };
  const list = (title, items) => {
    if (!items.length) return [];
    const shown = items.slice(0, 8).map((m) => linkTo({ message: m }, `${describe(m)}, sent at ${seconds(m.sent)}`));
    const more = items.length > 8 ? [element("li", { textContent: `… and ${items.length - 8} more` })] : [];
    return [element("div", { textContent: title }), element("ul", {}, ...shown, ...more)];
  };
  function fillPanel() {
    panel.hidden = !selected;
    if (!selected) return;
    const close = element("button", { className: "close", textContent: "✕", title: "Close", onclick: () => select(null) });
    if (selected.message) {
      const m = selected.message;
      const took = m.end == null ? data.fates[LAST_FATE] : `${data.fates[m.fate]} after ${span(m.end - m.sent)}`;
      panel.replaceChildren(close, element("h3", { textContent: describe(m) }),
        element("div", { textContent: `sent at ${seconds(m.sent)}, ${took}` }),
        element("pre", { textContent: pretty(m.body) }), ...onlyButton(),
        ...list("Likely causes", causesOf(m)), ...list("Likely effects", effectsOf(m)));
    } else {
      const op = selected.op;
      const took = op.end < 0 ? "no end" : `${OUTCOMES[op.outcome]} after ${span(op.end - op.start)}`;
      panel.replaceChildren(close, element("h3", { textContent: `${op.f} of process ${op.process}` }),
        element("div", { textContent: `begun at ${seconds(op.start)} (op ${op.from} of the history), ${took}` +
          (op.to >= 0 ? ` (op ${op.to})` : "") + (op.final ? ", a final operation" : "") }),
        element("pre", { textContent: op.error ? `${pretty(op.value)}\n${op.error}` : pretty(op.value) }),
        ...onlyButton(), ...list("Its messages", own));
    }
  }

  // ---- A tip at the pointer.

  const tip = document.getElementById("tip");
  const showTip = (event, text) => {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const { clientX: x, clientY: y } = event;
    tip.style.left = Math.min(x + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = (y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 18) + "px";
  };

  // ---- Charts: the whole test, with faults as bands.

  const PALETTE = ["#2f7ed8", "#e07b39", "#3aa655", "#b84592", "#8a6d3b", "#5b5fc7", "#c0392b", "#16a085", "#7f8c8d"];
  // Functions with the same outcome have the colour of the outcome, each in another tint.
  const TINTS = [["--ink", 0], ["--ink", 0.5], ["--paper", 0.5], ["--ink", 0.75], ["--paper", 0.7], ["--ink", 0.25]];
  const OTHERS = "other types";
  const chartsPlace = document.querySelector("#charts .charts");
  const allCharts = [];
  const bandsAndWindow = {
    hooks: {
      drawClear: [(u) => {
        const { ctx, bbox } = u;
        const box = (from, to, fill) => {
          const a = Math.max(u.valToPos(from / 1e6, "x", true), bbox.left);
          const b = Math.min(u.valToPos(to / 1e6, "x", true), bbox.left + bbox.width);
          ctx.fillStyle = fill;
          if (b >= a) ctx.fillRect(a, bbox.top, Math.max(b - a, 1), bbox.height);
        };
        ctx.save();
        for (const band of data.bands) box(band.from, band.to, color("--band"));
        if (view.from > whole.from || view.to < whole.to) box(view.from, view.to, color("--window"));
        ctx.restore();
      }],
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const at = (x) => u.posToVal(x, "x") * 1e6;
        setWindow(at(u.select.left), at(u.select.left + u.select.width));
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      }],
    },
  };
  const addChart = ({ title, about, unit, log, series, xs }) => {
    if (!xs.length) return;
    const box = element("div", { className: "chart" }, element("h3", { textContent: title }));
    if (about) box.append(element("p", { className: "about", textContent: about }));
    chartsPlace.append(box);
    const stroke = () => color("--faint");
    const grid = { stroke: () => color("--rule"), width: 1 };
    // The colour of a series is a fixed one, or the name of one that the page and its medium choose.
    // A tint is the name of another colour, and the part that it has.
    const paint = (one) => one.color.startsWith("--") ? () => mixed(one.color, one.tint) : one.color;
    const style = (one) => one.color.startsWith("--")
      ? `color-mix(in srgb, var(${one.tint[0]}) ${one.tint[1] * 100}%, var(${one.color}))` : one.color;
    const values = (u, ticks) => ticks.map((v) => v == null ? "" : String(+v.toPrecision(6)));
    const options = {
      width: box.clientWidth || 520, height: 230,
      cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: [whole.from / 1e6, whole.to / 1e6] },
        y: log ? { distr: 3 } : { range: (u, low, high) => [Math.min(0, low), high > 0 ? high * 1.06 : 1] },
      },
      axes: [{ stroke, grid, label: "s", labelSize: 16, size: 38 },
        { stroke, grid, values, size: 62, label: unit, labelSize: 18 }],
      series: [{ label: "s" }, ...series.map((one) => ({
        label: one.name, stroke: paint(one), width: 1.4, spanGaps: false,
        points: { show: !one.isLine, size: 4, fill: paint(one), width: 0 },
        paths: one.isLine ? undefined : () => null,
      }))],
      legend: { markers: { stroke: (u, at) => at ? style(series[at - 1]) : null } },
      plugins: [bandsAndWindow],
    };
    const chart = new uPlot(options, [xs.map((x) => x / 1e6), ...series.map((one) => one.ys)], box);
    allCharts.push({ chart, box });
  };
  // Sorts points of several series into one list of times, as uPlot takes them.
  const aligned = (series) => {
    const points = series.flatMap((one, s) => one.points.map(([x, y]) => [x, y, s]));
    points.sort((a, b) => a[0] - b[0]);
    const ys = series.map(() => new Array(points.length).fill(undefined));
    points.forEach(([, y, s], at) => { ys[s][at] = y; });
    return { xs: points.map((p) => p[0]), series: series.map((one, s) => ({ ...one, ys: ys[s] })) };
  };
  const buckets = 120;
  const width = (whole.to - Math.max(whole.from, 0)) / buckets || 1;
  const perSecond = (things, time, name) => {
    const counts = new Map();
    for (const thing of things) {
      const key = name(thing);
      if (!counts.has(key)) counts.set(key, new Array(buckets + 1).fill(0));
      const at = Math.floor((time(thing) - Math.max(whole.from, 0)) / width);
      if (at >= 0) counts.get(key)[Math.min(at, buckets)] += 1e6 / width;
    }
    const xs = Array.from({ length: buckets }, (_, at) => Math.max(whole.from, 0) + (at + 0.5) * width);
    const total = (ys) => ys.reduce((a, b) => a + b, 0);
    const rows = [...counts].sort((a, b) => total(b[1]) - total(a[1]));
    return { xs, rows: rows.map(([key, ys]) => ({ name: key, ys: ys.slice(0, buckets), isLine: true })) };
  };
  const typeColor = (() => {
    const totals = data.types.map(() => 0);
    for (const m of messages) totals[m.type] += 1;
    const order = totals.map((n, type) => [n, type]).sort((a, b) => b[0] - a[0]).map(([, type]) => type);
    const rank = new Map(order.map((type, at) => [type, at]));
    return (type) => PALETTE[Math.min(rank.get(type), PALETTE.length - 1)];
  })();

  function drawCharts() {
    const byOutcome = new Map();
    const tinted = OUTCOMES.map(() => 0);
    const functions = [...new Set(ops.map((op) => op.f))];
    for (const op of ops) {
      if (op.end < 0) continue;
      const name = op.f + (op.outcome ? ", " + OUTCOMES[op.outcome] : "");
      if (!byOutcome.has(name)) {
        const own = op.outcome ? OUTCOME_COLORS[op.outcome] : PALETTE[functions.indexOf(op.f) % PALETTE.length];
        const tint = TINTS[tinted[op.outcome]++ % TINTS.length];
        byOutcome.set(name, { name, color: own, tint, points: [] });
      }
      byOutcome.get(name).points.push([op.start, Math.max((op.end - op.start) / 1e3, 0.001)]);
    }
    addChart({ title: "Latency of operations", unit: "ms", log: true,
      about: "A point is an operation: when it began, and how long it took.",
      ...aligned([...byOutcome.values()]) });
    const rate = perSecond(ops.filter((op) => op.end >= 0), (op) => op.end,
      (op) => op.f + (op.outcome ? ", " + OUTCOMES[op.outcome] : ""));
    addChart({ title: "Operations that ended", unit: "per second", xs: rate.xs,
      series: rate.rows.map((row, at) => ({ ...row, color: PALETTE[at % PALETTE.length] })) });
    const part = Math.max(data.end, 1) / data.traffic.reduce((most, [, row]) => Math.max(most, row.length), 1);
    const traffic = data.traffic.map(([name, row]) =>
      ({ name: name || "?", type: name, isLine: true, ys: row.map((n) => n * 1e6 / part) }));
    const shown = traffic.slice(0, PALETTE.length - 1);
    const rest = traffic.slice(PALETTE.length - 1);
    if (rest.length) {
      shown.push({ name: OTHERS, isLine: true, ys: rest[0].ys.map((_, at) => rest.reduce((sum, row) => sum + row.ys[at], 0)) });
    }
    if (shown.length) {
      const typeOf = (row) => data.types.indexOf(row.type);
      addChart({ title: "Messages between servers", unit: "per second", xs: shown[0].ys.map((_, at) => (at + 0.5) * part),
        series: shown.map((row, at) => ({ ...row, color: typeOf(row) >= 0 ? typeColor(typeOf(row)) : PALETTE[at] })) });
    }
    for (const chart of data.charts) {
      const series = chart.series.map((one, at) =>
        ({ name: one.name, isLine: one.is_line, points: one.points, color: PALETTE[at % PALETTE.length] }));
      addChart({ title: chart.title, about: chart.about, unit: chart.unit, ...aligned(series) });
    }
  }
  views.push(() => { for (const { chart } of allCharts) chart.redraw(false); });

  // ---- Canvases.

  const GUTTER = 86;
  const RULER = 22;
  const canvasOf = (id) => {
    const canvas = document.querySelector(`${id} canvas`);
    const place = canvas.parentElement;
    const ctx = canvas.getContext("2d");
    const self = { canvas, place, ctx, height: 100, width: 100 };
    self.x = (t) => GUTTER + (t - view.from) / (view.to - view.from) * (self.width - GUTTER - 8);
    self.t = (x) => view.from + (x - GUTTER) / (self.width - GUTTER - 8) * (view.to - view.from);
    self.start = (height) => {
      const ratio = devicePixelRatio || 1;
      self.width = place.clientWidth;
      self.height = height;
      if (canvas.width !== Math.round(self.width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(self.width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.width = self.width + "px";
        canvas.style.height = height + "px";
      }
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      ctx.clearRect(0, 0, self.width, height);
      ctx.font = "12px system-ui, sans-serif";
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      for (const band of data.bands) {
        if (band.to < view.from || band.from > view.to || band.node) continue;
        ctx.fillStyle = color("--band");
        const a = Math.max(self.x(band.from), GUTTER);
        ctx.fillRect(a, RULER, Math.max(Math.min(self.x(band.to), self.width) - a, 1), height);
      }
      ruler(self);
    };
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      drag = { x: event.offsetX, from: view.from, to: view.to, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const shift = (drag.x - event.offsetX) / (self.width - GUTTER - 8) * (drag.to - drag.from);
        drag.moved ||= Math.abs(drag.x - event.offsetX) > 3;
        if (drag.moved) setWindow(drag.from + shift, drag.to + shift);
      } else {
        const found = self.find(event.offsetX, event.offsetY);
        canvas.style.cursor = found && found.thing ? "pointer" : "crosshair";
        showTip(event, found && found.text);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      const found = drag && !drag.moved && self.find(event.offsetX, event.offsetY);
      if (drag && !drag.moved) select(found ? found.thing : null, false);
      drag = null;
    });
    canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    canvas.addEventListener("wheel", (event) => {
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        const by = (event.deltaX || event.deltaY) / self.width * (view.to - view.from);
        setWindow(view.from + by, view.to + by);
      } else if (event.ctrlKey || event.altKey || document.activeElement === canvas) {
        zoom(event.deltaY > 0 ? 1.25 : 0.8, self.t(event.offsetX));
      } else {
        return;
      }
      event.preventDefault();
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => zoom(0.4, self.t(event.offsetX)));
    canvas.addEventListener("keydown", (event) => {
      const step = (view.to - view.from) * 0.2;
      const keys = {
        ArrowLeft: () => setWindow(view.from - step, view.to - step),
        ArrowRight: () => setWindow(view.from + step, view.to + step),
        "+": () => zoom(0.7), "-": () => zoom(1.4), "0": () => setWindow(whole.from, whole.to),
        Escape: () => select(null),
      };
      if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
    });
    return self;
  };

  function ruler({ ctx, x, width, height }) {
    const length = view.to - view.from;
    const rough = length / Math.max(width / 130, 2);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    ctx.strokeStyle = color("--rule");
    ctx.fillStyle = color("--faint");
    ctx.lineWidth = 1;
    const decimals = Math.max(0, 6 - Math.floor(Math.log10(step)));
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      const place = Math.round(x(at)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(place, RULER - 5);
      ctx.lineTo(place, height);
      ctx.stroke();
      ctx.fillText((at / 1e6).toFixed(Math.min(decimals, 6)) + " s", place + 3, 9);
    }
  }

  const tools = (id) => {
    const place = document.querySelector(`${id} .tools`);
    const button = (text, title, onclick) => place.append(element("button", { textContent: text, title, onclick }));
    const pan = (part) => () => { const by = (view.to - view.from) * part; setWindow(view.from + by, view.to + by); };
    button("◀", "Earlier", pan(-0.5));
    button("▶", "Later", pan(0.5));
    button("+", "Zoom in", () => zoom(0.5));
    button("−", "Zoom out", () => zoom(2));
    button("whole test", "Show the whole test", () => setWindow(whole.from, whole.to));
    if (evidence.size) button("first cause", "Show the operations that prove the cause", showCause);
    return { place, addSpan: () => {
      const label = element("span", { className: "span" });
      place.append(label);
      views.push(() => { label.textContent = `${seconds(view.from)} … ${seconds(view.to)}`; });
    } };
  };
  const showCause = () => {
    const proof = data.evidence.map((at) => ops[at]);
    around(Math.min(...proof.map((op) => op.start)), Math.max(...proof.map((op) => Math.max(op.end, op.start))));
  };

  // ---- The timeline.

  const timeline = canvasOf("#timeline");
  const timelineTools = tools("#timeline");
  OUTCOMES.forEach((name, outcome) => {
    if (!ops.some((op) => op.outcome === outcome)) return;
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = `var(${OUTCOME_COLORS[outcome]})`;
    timelineTools.place.append(element("label", {}, swatch, name));
  });
  timelineTools.addSpan();
  const threads = Math.max(data.threads, 1);
  const rowHeight = threads > 60 ? 8 : threads > 24 ? 12 : 18;
  const byThread = Array.from({ length: threads }, () => []);
  for (const op of ops) byThread[op.thread].push(op);
  const barY = (thread) => RULER + 4 + thread * rowHeight;
  const endOf = (op) => op.end < 0 ? data.end : op.end;
  views.push(() => {
    timeline.start(RULER + 8 + threads * rowHeight);
    const { ctx, x, width } = timeline;
    const colors = OUTCOME_COLORS.map(color);
    byThread.forEach((list, thread) => {
      const y = barY(thread);
      // The faults of its node.
      for (const band of data.bands) {
        if (band.node !== data.lines[1 + thread % data.nodes] || band.to < view.from || band.from > view.to) continue;
        ctx.fillStyle = color("--band");
        const a = Math.max(x(band.from), GUTTER);
        ctx.fillRect(a, y, Math.max(Math.min(x(band.to), width) - a, 1), rowHeight);
      }
      ctx.fillStyle = color("--faint");
      if (rowHeight >= 12 || thread % 4 === 0) ctx.fillText(`thread ${thread}`, 4, y + rowHeight / 2);
      const first = Math.max(lowerBound(list, view.from, endOf) - 1, 0);
      let lastPixel = -1;
      for (let at = first; at < list.length && list[at].start <= view.to; at++) {
        const op = list[at];
        const a = Math.max(x(op.start), GUTTER), b = Math.min(x(endOf(op)), width);
        if (b < GUTTER) continue;
        const marked = evidence.has(op.i) || selected && selected.op === op;
        // Bars that share a pixel are drawn once, unless they matter.
        if (!marked && !op.outcome && b < lastPixel + 0.5) continue;
        lastPixel = b;
        ctx.fillStyle = colors[op.outcome];
        ctx.fillRect(a, y + 2, Math.max(b - a, 1), rowHeight - 4);
        if (marked) {
          ctx.strokeStyle = color(evidence.has(op.i) ? "--lost" : "--ink");
          ctx.lineWidth = 2;
          ctx.strokeRect(a - 1, y + 1, Math.max(b - a, 1) + 2, rowHeight - 2);
        }
        if (b - a > 60 && rowHeight >= 12) {
          ctx.save();
          ctx.beginPath();
          ctx.rect(a, y, b - a - 2, rowHeight);
          ctx.clip();
          ctx.fillStyle = color("--paper");
          ctx.fillText(`${op.f} ${op.value}`.slice(0, 80), a + 4, y + rowHeight / 2);
          ctx.restore();
        }
      }
    });
  });
  const describeOp = (op) => `${op.f} of process ${op.process}: ${OUTCOMES[op.outcome]}` +
    (op.end < 0 ? "" : ` after ${span(op.end - op.start)}`) + `\n${op.value}` + (op.error ? `\n${op.error}` : "");
  timeline.find = (px, py) => {
    const thread = Math.floor((py - RULER - 4) / rowHeight);
    const list = byThread[thread];
    if (!list) return null;
    const at = timeline.t(px), slack = (view.to - view.from) / timeline.width * 2;
    const next = lowerBound(list, at - slack, endOf);
    const op = list[next];
    return op && op.start <= at + slack ? { thing: { op }, text: describeOp(op) } : null;
  };

  // ---- The space-time diagram.

  const diagram = canvasOf("#spacetime");
  const diagramTools = tools("#spacetime");
  const hiddenLines = new Set(), hiddenTypes = new Set();
  let filter = "";
  const toggles = (names, hidden, swatchOf) => names.forEach(([key, name]) => {
    const button = element("button", { title: "Show or hide" });
    if (swatchOf) {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = swatchOf(key);
      button.append(swatch);
    }
    button.append(name);
    button.setAttribute("aria-pressed", "true");
    button.dataset.toggle = name;
    button.onclick = () => {
      if (hidden.has(key)) hidden.delete(key); else hidden.add(key);
      button.setAttribute("aria-pressed", String(!hidden.has(key)));
      requestAnimationFrame(draw);
    };
    diagramTools.place.append(button);
  });
  const search = element("input", { type: "search", placeholder: "a key, a value, a field …", size: 20 });
  search.setAttribute("aria-label", "Show only messages whose body has this text");
  search.oninput = () => { filter = search.value; requestAnimationFrame(draw); };
  diagramTools.place.append(search);
  const usedTypes = [...new Set(messages.map((m) => m.type))];
  // Messages of clients are grey. The colours are for a protocol's own, between servers.
  const serverTypes = new Set(messages.filter((m) => m.src !== CLIENTS && m.dest !== CLIENTS).map((m) => m.type));
  const swatchOf = (type) => serverTypes.has(type) ? typeColor(type) : "var(--line)";
  toggles(usedTypes.map((type) => [type, data.types[type] || "?"]), hiddenTypes, swatchOf);
  toggles(data.lines.map((name, line) => [line, name]), hiddenLines, null);
  diagramTools.addSpan();

  const lineStep = () => data.lines.length - hiddenLines.size > 14 ? 24 : 42;
  let rows = new Map();
  const lineY = (line) => RULER + 22 + rows.get(line) * lineStep();
  const isShown = (m) => rows.has(m.src) && rows.has(m.dest) && !hiddenTypes.has(m.type)
    && (!filter || m.body.includes(filter)) && (!only || only.has(m));
  const longest = messages.reduce((most, m) => Math.max(most, endOfMessage(m) - m.sent), 0);
  const inWindow = function* () {
    const first = lowerBound(messages, view.from - longest, (m) => m.sent);
    for (let at = first; at < messages.length && messages[at].sent <= view.to; at++) {
      const m = messages[at];
      if (endOfMessage(m) >= view.from && isShown(m)) yield m;
    }
  };
  // Where an arrow ends: one that did not arrive ends on its way.
  const tipOf = (m) => {
    const x1 = diagram.x(m.sent), y1 = lineY(m.src), y2 = lineY(m.dest);
    const end = endOfMessage(m);
    const part = m.fate === 0 ? 1 : m.fate === LAST_FATE ? 1 : 0.6;
    const x2 = Math.max(diagram.x(end), x1 + (m.fate === 0 ? 0 : 12));
    return [x1, y1, x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
  };
  const DENSE = 6000;
  const stateBands = data.bands.filter((band) => band.node);
  views.push(() => {
    rows = new Map();
    data.lines.forEach((_, line) => { if (!hiddenLines.has(line)) rows.set(line, rows.size); });
    diagram.start(RULER + 44 + Math.max(rows.size - 1, 0) * lineStep());
    const { ctx, x, width } = diagram;
    ctx.save();
    for (const [line] of rows) {
      const y = lineY(line);
      ctx.fillStyle = color("--ink");
      ctx.fillText(data.lines[line].slice(0, 12), 4, y);
      ctx.strokeStyle = color("--line");
      ctx.lineWidth = 1.5;
      ctx.beginPath();
      ctx.moveTo(GUTTER, y);
      ctx.lineTo(width, y);
      ctx.stroke();
    }
    ctx.beginPath();
    ctx.rect(GUTTER, 0, width - GUTTER, diagram.height);
    ctx.clip();
    // Faults of the network: partitions, with their sides.
    for (const band of data.bands) {
      if (band.node || band.to < view.from || band.from > view.to) continue;
      const a = Math.max(x(band.from), GUTTER);
      const room = Math.floor((Math.min(x(band.to), width) - a - 6) / 6.5);
      if (room < 8) continue;
      ctx.fillStyle = color("--ink");
      ctx.fillText(band.name.length > room ? band.name.slice(0, room - 1) + "…" : band.name, a + 3, RULER + 7);
    }
    // Nodes that are down, paused or slow, or whose disks or clocks are in bad condition.
    for (const band of stateBands) {
      const line = data.lines.indexOf(band.node);
      if (!rows.has(line) || band.to < view.from || band.from > view.to) continue;
      const [a, b, y] = [x(band.from), x(band.to), lineY(line)];
      const fills = { crash: "--down", pause: "--paused", "stall-disk": "--paused", "fail-disk": "--lost" };
      ctx.globalAlpha = fills[band.kind] ? 0.75 : 0.3;
      ctx.fillStyle = color(fills[band.kind] || "--paused");
      ctx.fillRect(a, y - 4, Math.max(b - a, 2), 8);
      ctx.globalAlpha = 1;
      if (b - a > 50) {
        ctx.fillStyle = color("--ink");
        ctx.fillText(band.name, Math.max(a, GUTTER) + 3, y - 10);
      }
    }
    const shown = [...inWindow()];
    const dense = shown.length > DENSE;
    const dim = own.length && !only ? 0.18 : 1;
    // One path for each colour: thousands of strokes would be slow.
    const groups = new Map();
    for (const m of shown) {
      const ofClient = m.src === CLIENTS || m.dest === CLIENTS;
      const key = m.fate !== 0 && m.fate !== LAST_FATE ? "--lost" : ofClient ? "--line" : m.type;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(m);
    }
    for (const [key, group] of groups) {
      ctx.strokeStyle = typeof key === "string" ? color(key) : typeColor(key);
      ctx.globalAlpha = dim * (dense ? 0.35 : key === "--line" ? 0.5 : 0.85);
      ctx.lineWidth = dense ? 0.6 : 1.1;
      ctx.beginPath();
      for (const m of group) {
        const [x1, y1, x2, y2] = tipOf(m);
        ctx.moveTo(x1, y1);
        ctx.lineTo(x2, y2);
        if (!dense) head(ctx, x1, y1, x2, y2, key === "--lost");
      }
      ctx.stroke();
    }
    const strong = (m, name, lineWidth) => {
      if (!isShown(m)) return;
      const [x1, y1, x2, y2] = tipOf(m);
      ctx.globalAlpha = 1;
      ctx.strokeStyle = color(name);
      ctx.lineWidth = lineWidth;
      ctx.beginPath();
      ctx.moveTo(x1, y1);
      ctx.lineTo(x2, y2);
      head(ctx, x1, y1, x2, y2, m.fate !== 0 && m.fate !== LAST_FATE);
      ctx.stroke();
    };
    for (const m of effects) strong(m, "--effect", 1.8);
    for (const m of causes) strong(m, "--cause", 1.8);
    for (const m of own) strong(m, "--ink", 2.6);
    ctx.globalAlpha = 1;
    for (const [at, kind, line, text] of data.events) {
      if (at < view.from || at > view.to || !["clock", "muted", "bad-request", "forget", "mark"].includes(kind)) continue;
      if (line >= 0 && !rows.has(line)) continue;
      const y = line >= 0 ? lineY(line) : RULER + 8;
      ctx.fillStyle = color(kind === "mark" ? "--open" : "--lost");
      ctx.beginPath();
      ctx.arc(x(at), y, 4, 0, 7);
      ctx.fill();
      ctx.fillText(text.slice(0, 40), x(at) + 6, y - 9);
    }
    ctx.restore();
    document.querySelector("#spacetime").dataset.shown = String(shown.length);
  });
  const head = (ctx, x1, y1, x2, y2, isLost) => {
    if (isLost) {
      for (const s of [-1, 1]) { ctx.moveTo(x2 - 4, y2 - 4 * s); ctx.lineTo(x2 + 4, y2 + 4 * s); }
      return;
    }
    const angle = Math.atan2(y2 - y1, x2 - x1);
    for (const s of [-0.4, 0.4]) {
      ctx.moveTo(x2, y2);
      ctx.lineTo(x2 - 7 * Math.cos(angle + s), y2 - 7 * Math.sin(angle + s));
    }
  };
  diagram.find = (px, py) => {
    let best = null, nearest = 6;
    for (const m of inWindow()) {
      const [x1, y1, x2, y2] = tipOf(m);
      if (px < Math.min(x1, x2) - 6 || px > Math.max(x1, x2) + 6 || py < Math.min(y1, y2) - 6 || py > Math.max(y1, y2) + 6) continue;
      const length = Math.hypot(x2 - x1, y2 - y1) || 1;
      const along = Math.max(0, Math.min(1, ((px - x1) * (x2 - x1) + (py - y1) * (y2 - y1)) / length ** 2));
      const away = Math.hypot(px - x1 - along * (x2 - x1), py - y1 - along * (y2 - y1));
      if (away < nearest) { nearest = away; best = m; }
    }
    if (!best) {
      const t = diagram.t(px);
      const band = data.bands.find((one) => !one.node && one.from <= t && t <= one.to);
      return band ? { thing: null, text: band.name } : null;
    }
    const took = best.end == null ? "" : ` after ${span(best.end - best.sent)}`;
    return { thing: { message: best }, text: `${describe(best)}\n${data.fates[best.fate]}${took}\n${best.body.slice(0, 200)}` };
  };

  // ---- The start.

  for (const link of document.querySelectorAll("a[data-event]")) {
    link.onclick = (event) => {
      const index = Number(link.dataset.event);
      // An operation that was left out has its row in the table above.
      const op = ops.find((one) => one.from === index || one.to === index);
      if (!op) return;
      event.preventDefault();
      select({ op });
      around(op.start, endOf(op));
      document.querySelector("#timeline").scrollIntoView({ behavior: "smooth" });
    };
  }
  drawCharts();
  if (evidence.size) {
    showCause();
  } else if (messages.length > 4000) {
    setWindow(0, messages[Math.min(3000, messages.length - 1)].sent);
  }
  draw();
  // Paper is white. Canvases are not drawn again for it, so they need light colours before.
  const showPrinting = (isPrinting) => {
    root.classList.toggle("printing", isPrinting);
    draw();
  };
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
    showPrinting(true);
  });
  addEventListener("afterprint", () => showPrinting(false));
  matchMedia("print").addEventListener("change", (event) => showPrinting(event.matches));
  addEventListener("resize", () => {
    for (const { chart, box } of allCharts) chart.setSize({ width: box.clientWidth, height: 230 });
    requestAnimationFrame(draw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => requestAnimationFrame(draw));
  document.body.dataset.ready = "true";
})();
