import { TRACE_VERSION } from "@vireo/hal";

/** The part of the program that words frequent events as lines of text have them. */
export const PAGE_WORDS: string = String.raw`
const hex = (n) => "0x" + n.toString(16);
const counted = (count, what) => count + " " + what + (count === 1 ? "" : "s");
const WORDS = {
  add: (e) => "'" + e.name + "' " + (e.reversed ? "device's add " : e.seenBy ? "taken " : "add ") + e.token + " [" +
    e.elements.map(([at, length, writable]) => (writable ? "w " : "r ") + hex(at) + "+" + length).join(", ") + "]",
  used: (e) => "'" + e.name + "' " + (e.reversed ? "driver " : "") + "used " + e.token + ", " + counted(e.length, "byte") + " written, after " + e.after.toFixed(3) + " ms",
  kick: (e) => "'" + e.name + "' kick " + (e.buffers === 0 ? "again, notified"
    : "of " + counted(e.buffers, "buffer") + ", " + (e.notified ? "notified" : "not notified: the device asked not to be")),
  copy: (e) => "copied " + counted(e.bytes, "byte"),
};
`;

/**
 * The program of a trace's page. It stands in the page as it is, so it is plain JavaScript without imports; it may use what
 * browsers of 2023 have, and nothing of a network.
 */
const PAGE_SCRIPT: string = String.raw`
"use strict";
addEventListener("DOMContentLoaded", () => {
const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const ms = (t) => t.toFixed(t < 10 ? 3 : 1) + " ms";

// The last line of a trace that is cut may be half a line.
const events = [];
for (const line of $("events").textContent.split("\n")) {
  if (line === "") continue;
  try { events.push(JSON.parse(line)); } catch { break; }
}
${PAGE_WORDS}
const end = events.length === 0 ? 1 : Math.max(events.at(-1).time, 1e-3);

// The buffers and the tracks.
const tracks = new Map();
const requests = [];
const devices = new Map();
for (const event of events) {
  event.text ??= WORDS[event.kind](event);
  if (event.request !== undefined) event.text += ": " + event.request;
  if (event.hex) event.text += " data " + event.hex;
  const { device, kind } = event;
  if (!devices.has(device)) devices.set(device, { device, steps: [], offered: [], accepted: [] });
  const known = devices.get(device);
  if (kind === "status") known.steps.push(event.text);
  if (kind === "features") known[event.by === "device" ? "offered" : "accepted"] = event.names;
  if (event.queue === undefined) continue;
  const key = device + "." + event.queue;
  if (!tracks.has(key)) {
    tracks.set(key, { key, device, queue: event.queue, name: "", size: 0, open: new Map(), items: [], marks: [], depth: [], added: 0, kicked: 0, used: 0 });
  }
  const track = tracks.get(key);
  if (event.name !== undefined) track.name = event.name;
  if (kind === "queue" && event.size) track.size = event.size;
  if (kind === "add") {
    const item = { track, token: event.token, at: event.time, end: undefined, request: event.request, answer: undefined, elements: event.elements, index: track.added++, kicked: event.seenBy && event.time, length: undefined, usedIndex: undefined };
    track.open.set(event.token, item);
    track.items.push(item);
    requests.push(item);
  } else if (kind === "used") {
    const item = track.open.get(event.token);
    track.open.delete(event.token);
    if (item) Object.assign(item, { end: event.time, answer: event.request, length: event.length, usedIndex: track.used });
    track.used++;
  } else if (kind === "kick") {
    for (let i = track.kicked; i < track.added; i++) track.items[i].kicked ??= event.time;
    track.kicked = track.added;
    track.marks.push(event);
  } else if (kind === "notified") track.marks.push({ time: event.time, notified: event.sent });
  if (event.inFlight !== undefined) track.depth.push([event.time, event.inFlight]);
}
const rows = [...tracks.values()].filter((track) => track.items.length > 0 || track.marks.length > 0);
const violations = events.filter(({ kind }) => kind === "violation" || kind === "fault");
const interrupts = events.filter(({ kind }) => kind === "interrupt" || kind === "call");

$("summary").textContent = counted(events.length, "event") + " of " + counted(new Set(rows.map((row) => row.device)).size, "device") + " in " + ms(end) + ", " +
  counted(requests.length, "buffer") + ", " + violations.length + " violations and faults";

// Negotiation.
for (const { device, steps, offered, accepted } of devices.values()) {
  if (steps.length === 0 && offered.length === 0) continue;
  const line = make("div", { className: "steps" });
  steps.forEach((step, i) => {
    if (i > 0) line.append(make("span", { className: "arrow" }, "\u2192"));
    line.append(make("span", { className: "box" }, step.replace("device status <- ", "")));
  });
  const bits = make("div", { className: "bits" });
  for (const name of new Set([...offered, ...accepted])) {
    const how = !offered.includes(name) ? "wrong" : accepted.includes(name) ? "yes" : "no";
    bits.append(make("span", { className: "bit " + how, title: how === "yes" ? "accepted" : how === "no" ? "offered, not accepted" : "not offered" }, name));
  }
  $("negotiation").append(make("h3", {}, device), line, bits);
}
for (const { time, device, text, kind } of violations) {
  const row = make("li", { className: "bad" }, ms(time) + " " + device + " " + text);
  row.onclick = () => choose(time);
  $("violations").append(row);
}
if (violations.length === 0) $("violations").append(make("li", {}, "none"));

// The timeline.
const LEFT = 170, ROW = 26;
let from = 0, to = end, chosen = end;
const canvas = $("timeline");
const context = canvas.getContext("2d");
const x = (time) => LEFT + (time - from) / (to - from) * (canvas.clientWidth - LEFT - 10);
const timeAt = (px) => from + (px - LEFT) / (canvas.clientWidth - LEFT - 10) * (to - from);
function draw() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, rows.length * ROW + 40];
  canvas.style.height = height + "px";
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = "11px system-ui, sans-serif";
  context.clearRect(0, 0, width, height);
  for (let i = 0; i <= 8; i++) {
    const time = from + (to - from) * i / 8;
    context.fillStyle = "#ddd";
    context.fillRect(x(time), 0, 1, height - 18);
    context.fillStyle = "#555";
    const label = ms(time);
    context.fillText(label, Math.min(x(time) + 2, width - context.measureText(label).width - 4), height - 6);
  }
  rows.forEach((track, row) => {
    const top = row * ROW + 4;
    context.fillStyle = "#222";
    context.fillText(track.device + " '" + track.name + "'", 4, top + 13);
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width, height);
    context.clip();
    let last = -2, open = false;
    for (const item of track.items) {
      // Buffers that nothing answered lie over each other: one bar stands for them.
      if (item.end === undefined && open) continue;
      open ||= item.end === undefined;
      const [a, b] = [x(item.at), x(item.end ?? end)];
      if (b < LEFT || a > width || (b - a < 1 && Math.floor(a) === last)) continue;
      last = Math.floor(a);
      context.fillStyle = item.end === undefined ? "rgba(230,150,40,.4)" : "rgba(60,120,200,.55)";
      context.fillRect(a, top, Math.max(b - a, 1.5), ROW - 9);
    }
    for (const kick of track.marks) {
      context.fillStyle = kick.notified ? "#1a7f37" : "#999";
      context.fillRect(x(kick.time), top + ROW - 11, 1.5, 7);
    }
    context.restore();
  });
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width, height);
  context.clip();
  for (const { time, device, queue, sent } of interrupts) {
    rows.forEach((track, row) => {
      if (track.device !== device || (queue !== undefined && queue !== track.queue)) return;
      context.fillStyle = sent === false ? "#999" : "#8250df";
      context.fillRect(x(time), row * ROW + 2, 1, 5);
    });
  }
  for (const { time } of violations) {
    context.fillStyle = "#d1242f";
    context.fillRect(x(time), 0, 2, height - 18);
  }
  context.fillStyle = "#000";
  context.fillRect(x(chosen), 0, 1, height - 18);
  context.restore();
  chart("depth", rows.flatMap((track) => track.depth), (points) => "most in flight: " + points.reduce((m, p) => Math.max(m, p[1]), 0));
  const taken = requests.filter((item) => item.end !== undefined);
  chart("latency", taken.map((item) => [item.end, item.end - item.at]), (points) => {
    const sorted = points.map((p) => p[1]).sort((a, b) => a - b);
    const at = (part) => sorted.length === 0 ? "-" : ms(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]);
    return "add to used: median " + at(0.5) + ", 99% " + at(0.99);
  });
}
function chart(id, all, words) {
  const node = $(id), pen = node.getContext("2d");
  const ratio = devicePixelRatio || 1;
  const [width, height] = [node.clientWidth, 110];
  node.width = width * ratio;
  node.height = height * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  const points = all.filter(([time]) => time >= from && time <= to);
  const most = points.reduce((m, p) => Math.max(m, p[1]), 0) || 1;
  pen.fillStyle = "#3c78c8";
  for (const [time, value] of points) {
    const px = 30 + (time - from) / (to - from) * (width - 40);
    const py = 96 - value / most * 76;
    pen.fillRect(px - 1, py - 1, 2.5, 2.5);
  }
  pen.fillStyle = "#555";
  pen.fillRect(30, 97, width - 40, 1);
  pen.fillText(most < 10 ? most.toFixed(2) : most.toFixed(0), 2, 24);
  pen.fillText("0", 2, 98);
  $(id + "-words").textContent = words(points);
}
canvas.onclick = (event) => choose(Math.max(0, timeAt(event.offsetX)), rows[Math.floor(event.offsetY / ROW)]);
canvas.onwheel = (event) => {
  event.preventDefault();
  const middle = timeAt(event.offsetX), scale = event.deltaY > 0 ? 1.3 : 1 / 1.3;
  from = Math.max(0, middle - (middle - from) * scale);
  to = Math.min(end, middle + (to - middle) * scale);
  if (to - from < 1e-3) to = from + 1e-3;
  draw();
};
$("all").onclick = () => { from = 0; to = end; draw(); };
addEventListener("resize", draw);

// The rings at a moment.
let shown = rows[0];
function choose(time, track) {
  chosen = time;
  if (track !== undefined) shown = track;
  const last = events.findLast((event) => event.time <= time);
  $("moment").textContent = ms(time) + (last ? ": " + last.device + " " + last.text : "");
  const picker = $("ring");
  picker.replaceChildren(...rows.map((row) => make("option", { value: row.key, selected: row === shown }, row.device + " '" + row.name + "'")));
  picker.onchange = () => choose(chosen, tracks.get(picker.value));
  const body = $("buffers");
  body.replaceChildren();
  if (shown === undefined) return draw();
  const added = shown.items.filter((item) => item.at <= time);
  const available = added.filter((item) => item.kicked !== undefined && item.kicked <= time);
  const used = added.filter((item) => item.end !== undefined && item.end <= time).sort((a, b) => a.usedIndex - b.usedIndex);
  $("indices").textContent = "available index " + (available.length & 0xffff) + ", used index " + (used.length & 0xffff) + ", " +
    (added.length - used.length) + " in flight" + (shown.size ? ", " + shown.size + " descriptors" : "");
  const live = added.filter((item) => !(item.end <= time));
  for (const item of live.slice(0, 100)) {
    const state = item.kicked === undefined || item.kicked > time ? "added, not kicked" : "available";
    item.elements.forEach((part, i) => body.append(make("tr", { className: item.end === undefined ? "waits" : "" },
      ...[i ? "" : item.token, i ? "" : state, i, hex(part[0]), part[1], part[2] ? "device writes" : "device reads", i ? "" : item.request ?? ""]
        .map((cell) => make("td", {}, String(cell))))));
  }
  const entry = (words) => make("li", {}, words);
  $("available").replaceChildren(...available.slice(-10).map((item) => entry((item.index & 0xffff) + ": token " + item.token)));
  $("used").replaceChildren(...used.slice(-10).map((item) => entry((item.usedIndex & 0xffff) + ": token " + item.token + ", " + item.length + " bytes")));
  draw();
}

// The table of requests.
const MOST = 500;
function list() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = requests.filter((item) => {
    const text = (item.track.device + " " + item.track.name + " " + (item.answer ?? item.request ?? "") + (item.end === undefined ? " unanswered" : "")).toLowerCase();
    return words.every((word) => text.includes(word));
  });
  $("count").textContent = found.length + " of " + requests.length + (found.length > MOST ? ", the first " + MOST + " shown" : "");
  $("requests").replaceChildren(...found.slice(0, MOST).map((item) => {
    const row = make("tr", { className: item.end === undefined ? "waits" : "" },
      ...[ms(item.at), item.track.device, item.track.name, item.token, item.answer ?? item.request ?? "buffer", item.end === undefined ? "unanswered" : ms(item.end - item.at), item.length ?? ""]
        .map((cell) => make("td", {}, String(cell))));
    row.onclick = () => choose(item.at, item.track);
    return row;
  }));
}
$("filter").oninput = list;
list();
const [wrong] = violations;
choose(wrong?.time ?? end, wrong && rows.findLast(({ device }) => device === wrong.device));
document.body.dataset.ready = String(requests.length);
});
`;

/** The page up to its events, which are lines of JSON. */
export const PAGE_START: string = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="vireo-trace" content="${TRACE_VERSION}"><title>Vireo trace</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<style>
body { font: 13px/1.4 system-ui, sans-serif; margin: 16px; color: #222; background: #fff }
h1 { font-size: 18px; margin: 0 } h2 { font-size: 14px; margin: 18px 0 6px } h3 { font-size: 12px; margin: 8px 0 2px }
canvas { width: 100%; display: block; border: 1px solid #ccc; cursor: crosshair }
.charts { display: grid; grid-template-columns: 1fr 1fr; gap: 12px }
.charts canvas { height: 110px; cursor: default }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 1px 8px; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums }
.scroll { max-height: 260px; overflow: auto; border: 1px solid #ccc } #requests tr { cursor: pointer }
.box, .bit { border: 1px solid #999; border-radius: 3px; padding: 0 5px; margin: 1px; display: inline-block; font-size: 11px }
.yes { background: #dafbe1 } .no { color: #888 } .wrong, .bad { background: #ffebe9; color: #a40e26 } .waits td { background: #fff4e0 }
.lists { display: grid; grid-template-columns: 1fr 1fr; gap: 12px } ul { margin: 0; padding-left: 18px } .bad { cursor: pointer }
</style>
<script>${PAGE_SCRIPT}</script></head><body>
<h1>Vireo trace</h1><p id="summary"></p>
<h2>Timeline <button id="all">all</button></h2>
<p>Bars: buffers from add to used, orange if none came back. Green: kicks, grey if suppressed. Violet: interrupts, grey if the device did not send them. Red: violations. The wheel zooms, a click shows the rings.</p>
<canvas id="timeline"></canvas>
<div class="charts"><div><h2>Queue depth</h2><span id="depth-words"></span><canvas id="depth"></canvas></div>
<div><h2>Latency</h2><span id="latency-words"></span><canvas id="latency"></canvas></div></div>
<h2>Violations and faults</h2><ul id="violations"></ul>
<h2>Rings at <span id="moment"></span></h2><select id="ring"></select> <span id="indices"></span>
<div class="scroll"><table><thead><tr><th>token<th>state<th>part<th>address<th>length<th>direction<th>request</tr></thead><tbody id="buffers"></tbody></table></div>
<div class="lists"><div><h3>Last available entries</h3><ul id="available"></ul></div><div><h3>Last used entries</h3><ul id="used"></ul></div></div>
<h2>Requests</h2><input id="filter" placeholder="filter: virtio1 read unanswered" size="40"> <span id="count"></span>
<div class="scroll"><table><thead><tr><th>added<th>device<th>queue<th>token<th>request<th>took<th>bytes</tr></thead><tbody id="requests"></tbody></table></div>
<h2>Negotiation</h2><div id="negotiation"></div>
<script id="events" type="text/plain">
`;

/** The page behind its events. */
export const PAGE_END = "</script></body></html>\n";
