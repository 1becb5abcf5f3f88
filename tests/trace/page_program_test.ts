import { assertEquals } from "@std/assert";
import { PageDocument } from "./page_document.ts";

const blk = { device: "virtio0", queue: 0, name: "req.0" } as const;
const out = { device: "virtio1", queue: 1, name: "out" } as const;
const READ = [[4096, 16, false], [8192, 512, true]] as const;
/** Ten milliseconds of two devices: 100 pixels of the timeline are a millisecond. */
const EVENTS = [
  { time: 0, device: "virtio0", kind: "status", text: "device status <- ACKNOWLEDGE" },
  { time: 0, device: "virtio0", kind: "features", by: "device", names: ["A", "B"], text: "offers" },
  {
    time: 0,
    device: "virtio0",
    kind: "features",
    by: "driver",
    names: ["A", "C"],
    text: "accepts",
  },
  { time: 0.5, device: "virtio0", kind: "status", text: "device status <- DRIVER_OK" },
  { time: 1, device: "virtio0", queue: 0, kind: "queue", size: 8, text: "queue 0" },
  { time: 1, ...blk, kind: "add", token: 3, elements: READ, request: "blk READ", inFlight: 1 },
  { time: 2, ...blk, kind: "add", token: 5, elements: [[12288, 1, false]], inFlight: 2 },
  { time: 3, ...blk, kind: "kick", buffers: 2, notified: true },
  {
    time: 4,
    ...blk,
    kind: "used",
    token: 3,
    length: 513,
    after: 3,
    request: "blk READ: OK",
    inFlight: 1,
  },
  { time: 4.5, device: "virtio0", queue: 0, kind: "interrupt", text: "interrupt" },
  {
    time: 5,
    ...out,
    kind: "add",
    token: 7,
    seenBy: "device",
    elements: [[64, 2, true]],
    inFlight: 1,
    hex: "0102",
  },
  {
    time: 5.5,
    ...blk,
    kind: "add",
    token: 3,
    elements: [[4096, 16, false]],
    request: "blk WRITE",
    inFlight: 2,
  },
  { time: 6, ...blk, kind: "kick", buffers: 1, notified: false },
  { time: 7, ...out, kind: "notified", sent: true, text: "told" },
  { time: 7, ...out, kind: "call", sent: false, text: "calls" },
  { time: 8, device: "virtio1", kind: "violation", text: "breaks a rule" },
  { time: 9, ...out, kind: "used", token: 99, length: 0, after: 1, inFlight: 1 },
  { time: 9.5, device: "virtio0", kind: "interrupt", text: "interrupt of all" },
  { time: 10, device: "virtio0", kind: "copy", bytes: 1 },
];

function linesOf(events: readonly unknown[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/** The page of those events, cut in the middle of another one. */
function opened(): PageDocument {
  return new PageDocument(`${linesOf(EVENTS)}{"time":11,"dev`);
}

function textOf(page: PageDocument, ...ids: string[]): string[] {
  return ids.map((id) => page.at(id).textContent);
}

/** What is shown of the rings at the chosen moment. */
function moment(page: PageDocument): unknown[] {
  return [
    ...textOf(page, "moment", "indices"),
    page.at("buffers").rows,
    page.at("available").rows,
    page.at("used").rows,
    page.at("ring").children.findIndex((ring) => typeof ring !== "string" && ring.selected),
  ];
}

/** The bars of the last drawings. */
function barsOf(page: PageDocument): string[] {
  return page.drawn("timeline").filter((line) => line.startsWith("rgba"));
}

/** Clicks on the timeline, at a time and on a row. */
function click(page: PageDocument, time: number, row: number): unknown[] {
  page.at("timeline").onclick!({ offsetX: 170 + time * 100, offsetY: row * 26 + 5 });
  return moment(page);
}

Deno.test("trace page program: it lists, and draws, what a trace has", () => {
  const page = opened();
  assertEquals(page.body.dataset, { ready: "4" });
  assertEquals(textOf(page, "summary", "count", "depth-words", "latency-words"), [
    "19 events of 2 devices in 10.0 ms, 4 buffers, 1 violations and faults",
    "4 of 4",
    "most in flight: 2",
    "add to used: median 3.000 ms, 99% 3.000 ms",
  ]);
  assertEquals(page.at("violations").rows, ["bad: 8.000 ms virtio1 breaks a rule"]);
  const negotiation = page.at("negotiation");
  assertEquals(negotiation.rows, ["virtio0", "steps: ACKNOWLEDGE → DRIVER_OK", "bits: A B C"]);
  const [, , bits] = negotiation.children;
  assertEquals(
    typeof bits === "string"
      ? []
      : bits!.children.map((bit) => typeof bit !== "string" && [bit.className, bit.title]),
    [["bit yes", "accepted"], ["bit no", "offered, not accepted"], ["bit wrong", "not offered"]],
  );
  assertEquals(page.at("requests").rows, [
    "1.000 ms|virtio0|req.0|3|blk READ: OK|3.000 ms|513",
    "waits: 2.000 ms|virtio0|req.0|5|buffer|unanswered|",
    "waits: 5.000 ms|virtio1|out|7|buffer|unanswered|",
    "waits: 5.500 ms|virtio0|req.0|3|blk WRITE|unanswered|",
  ]);
  assertEquals(page.drawn("timeline"), [
    ...["scale 2", "clear 0 0 1180 92"],
    ...["#ddd 170 0 1 74", "#555 '0.000 ms' 172 86", "#ddd 295 0 1 74", "#555 '1.250 ms' 297 86"],
    ...["#ddd 420 0 1 74", "#555 '2.500 ms' 422 86", "#ddd 545 0 1 74", "#555 '3.750 ms' 547 86"],
    ...["#ddd 670 0 1 74", "#555 '5.000 ms' 672 86", "#ddd 795 0 1 74", "#555 '6.250 ms' 797 86"],
    ...["#ddd 920 0 1 74", "#555 '7.500 ms' 922 86", "#ddd 1045 0 1 74", "#555 '8.750 ms' 1047 86"],
    // The last one stands inside.
    ...["#ddd 1170 0 1 74", "#555 '10.0 ms' 1146 86"],
    ...["#222 'virtio0 'req.0'' 4 17", "save", "clip 170 0 1180 92"],
    "rgba(60,120,200,.55) 270 4 300 17",
    // The second that nothing answered lies over it.
    "rgba(230,150,40,.4) 370 4 800 17",
    ...["#1a7f37 470 19 1.5 7", "#999 770 19 1.5 7", "restore"],
    ...["#222 'virtio1 'out'' 4 43", "save", "clip 170 0 1180 92"],
    ...["rgba(230,150,40,.4) 670 30 500 17", "#1a7f37 870 45 1.5 7", "restore"],
    // The interrupts, one that was not sent, and one of all queues.
    ...["save", "clip 170 0 1180 92"],
    ...["#8250df 620 2 1 5", "#999 870 28 1 5", "#8250df 1120 2 1 5"],
    ...["#d1242f 970 0 2 74", "#000 970 0 1 74", "restore"],
  ]);
  const { width, height, style } = page.at("timeline");
  assertEquals([width, height, style], [2360, 184, { height: "92px" }]);
  const axes = (
    most: string,
  ): string[] => ["#555 30 97 1140 1", `#555 '${most}' 2 24`, "#555 '0' 2 98"];
  assertEquals(page.drawn("depth"), [
    ...["scale 2", "#3c78c8 143 57 2.5 2.5", "#3c78c8 257 19 2.5 2.5", "#3c78c8 485 57 2.5 2.5"],
    ...["#3c78c8 656 19 2.5 2.5", "#3c78c8 599 57 2.5 2.5", "#3c78c8 1055 57 2.5 2.5"],
    ...axes("2.00"),
  ]);
  assertEquals(page.drawn("latency"), ["scale 2", "#3c78c8 485 19 2.5 2.5", ...axes("3.00")]);
  assertEquals([page.at("depth").width, page.at("depth").height], [2360, 220]);
});

Deno.test("trace page program: it shows the rings at a moment", () => {
  const page = opened();
  const read = [
    "3|added, not kicked|0|0x1000|16|device reads|blk READ",
    "||1|0x2000|512|device writes|",
  ];
  const second = "waits: 5|available|0|0x3000|1|device reads|";
  const sent = ["waits: 7|available|0|0x40|2|device writes|"];
  // At first: the violation, and the ring of its device.
  const wrong = [
    "8.000 ms: virtio1 breaks a rule",
    "available index 1, used index 0, 1 in flight",
    ...[sent, ["0: token 7"], [], 1],
  ];
  assertEquals(moment(page), wrong);
  assertEquals(page.at("ring").rows, ["virtio0 'req.0'", "virtio1 'out'"]);
  assertEquals(click(page, 2.5, 0), [
    "2.500 ms: virtio0 'req.0' add 5 [r 0x3000+1]",
    "available index 0, used index 0, 2 in flight, 8 descriptors",
    ...[[...read, "waits: 5|added, not kicked|0|0x3000|1|device reads|"], [], [], 0],
  ]);
  assertEquals(page.drawn("timeline").at(-2), "#000 420 0 1 74");
  // Kicked, and used, just then.
  assertEquals(click(page, 3, 0)[1], "available index 2, used index 0, 2 in flight, 8 descriptors");
  const answered = [
    "4.000 ms: virtio0 'req.0' used 3, 513 bytes written, after 3.000 ms: blk READ: OK",
    "available index 2, used index 1, 1 in flight, 8 descriptors",
    ...[[second], ["0: token 3", "1: token 5"], ["0: token 3, 513 bytes"], 0],
  ];
  assertEquals(click(page, 4, 0), answered);
  assertEquals(click(page, 9.9, 0), [
    "9.900 ms: virtio0 interrupt of all",
    "available index 3, used index 1, 2 in flight, 8 descriptors",
    [second, "waits: 3|available|0|0x1000|16|device reads|blk WRITE"],
    ...[["0: token 3", "1: token 5", "2: token 3"], ["0: token 3, 513 bytes"], 0],
  ]);
  assertEquals(click(page, 5, 1), [
    "5.000 ms: virtio1 'out' taken 7 [w 0x40+2] data 0102",
    ...[wrong[1], sent, ["0: token 7"], [], 1],
  ]);
  // Left of the timeline is its start; below the rows the ring stays.
  assertEquals(click(page, -3, 0).slice(0, 2), [
    "0.000 ms: virtio0 accepts",
    "available index 0, used index 0, 0 in flight, 8 descriptors",
  ]);
  assertEquals(click(page, 4, 2), answered);
  page.at("ring").value = "virtio1.1";
  page.at("ring").onchange!({});
  assertEquals(moment(page), [
    ...[answered[0], "available index 0, used index 0, 0 in flight", [], [], [], 1],
  ]);
  const [request] = page.at("requests").children;
  if (typeof request !== "string") request!.onclick!({});
  assertEquals(moment(page), [
    "1.000 ms: virtio0 'req.0' add 3 [r 0x1000+16, w 0x2000+512]: blk READ",
    "available index 0, used index 0, 1 in flight, 8 descriptors",
    ...[read, [], [], 0],
  ]);
  click(page, 4, 1);
  const [violation] = page.at("violations").children;
  if (typeof violation !== "string") violation!.onclick!({});
  assertEquals(moment(page), wrong);
});

Deno.test("trace page program: a device that only offers, or only takes steps, has a negotiation", () => {
  const page = new PageDocument(linesOf([
    { time: 0, device: "a", kind: "status", text: "device status <- ACKNOWLEDGE" },
    { time: 0, device: "b", kind: "features", by: "device", names: ["A"], text: "offers" },
    { time: 0, device: "c", kind: "copy", bytes: 1 },
  ]));
  assertEquals(page.at("negotiation").rows, [
    ...["a", "steps: ACKNOWLEDGE", "bits: ", "b", "steps: ", "bits: A"],
  ]);
});

Deno.test("trace page program: the wheel zooms around the pointer, as far as the trace goes", () => {
  const page = opened();
  let kept = 0;
  /** The first and the last time on the timeline after a turn of the wheel. */
  const turn = (deltaY: number, offsetX: number): string[] => {
    page.drawn("timeline");
    page.drawn("depth");
    page.at("timeline").onwheel!({ preventDefault: () => kept++, deltaY, offsetX });
    return ends();
  };
  const ends = (): string[] => {
    const labels = page.drawn("timeline").flatMap((line) => /'([\d.]+) ms'/.exec(line)?.[1] ?? []);
    return [labels[0]!, labels.at(-1)!];
  };
  assertEquals(turn(-1, 670), ["1.154", "8.846"]);
  // Points outside are left out.
  assertEquals(page.drawn("depth").slice(1, 5), [
    ...["#3c78c8 154.4 19 2.5 2.5", "#3c78c8 450.8 57 2.5 2.5", "#3c78c8 673.1 19 2.5 2.5"],
    "#3c78c8 599 57 2.5 2.5",
  ]);
  assertEquals(turn(-1, 170), ["1.154", "7.071"]);
  assertEquals(turn(1, 1170), ["0.000", "7.071"]);
  assertEquals(turn(1, 670), ["0.000", "8.132"]);
  for (let i = 0; i < 3; i++) turn(1, 670);
  page.resize();
  assertEquals(ends(), ["0.000", "10.0"]);
  for (let i = 0; i < 50; i++) turn(-1, 670);
  // Not below a microsecond; the next turn starts there.
  assertEquals(turn(-1, 170), ["5.001", "5.002"]);
  assertEquals(turn(1, 170), ["5.001", "5.003"]);
  assertEquals(textOf(page, "depth-words", "latency-words"), [
    "most in flight: 0",
    "add to used: median -, 99% -",
  ]);
  page.at("all").onclick!({});
  assertEquals(ends(), ["0.000", "10.0"]);
  assertEquals(kept, 59);
});

Deno.test("trace page program: the filter takes requests with all of its words", () => {
  const page = opened();
  const found = (words: string): unknown[] => {
    page.at("filter").value = words;
    page.at("filter").oninput!({});
    return [...textOf(page, "count"), page.at("requests").rows.map((row) => row.split("|")[4])];
  };
  assertEquals(found("unanswered"), ["3 of 4", ["buffer", "buffer", "blk WRITE"]]);
  assertEquals(found(" READ ok  virtio0"), ["1 of 4", ["blk READ: OK"]]);
  assertEquals(found("blk"), ["2 of 4", ["blk READ: OK", "blk WRITE"]]);
  assertEquals(found("out"), ["1 of 4", ["buffer"]]);
  assertEquals(found("blk unheard"), ["0 of 4", []]);
  assertEquals(found("")[0], "4 of 4");
});

Deno.test("trace page program: a trace of nothing, and one of more than it shows", () => {
  const none = new PageDocument("");
  assertEquals(textOf(none, "summary", "moment", "count", "depth-words", "latency-words"), [
    "0 events of 0 devices in 1.000 ms, 0 buffers, 0 violations and faults",
    ...["1.000 ms", "0 of 0", "most in flight: 0", "add to used: median -, 99% -"],
  ]);
  assertEquals([none.at("violations").rows, none.at("negotiation").rows], [["none"], []]);
  assertEquals(none.at("timeline").style, { height: "40px" });
  const count = 600;
  const taken = 450;
  const page = new PageDocument(linesOf([
    ...Array.from({ length: count }, (_, i) => {
      const elements = [[0, 1, false]];
      return { time: i / 1000, ...blk, kind: "add", token: i, elements, inFlight: i + 1 };
    }),
    { time: 1, ...blk, kind: "kick", buffers: count, notified: true },
    // The last one first.
    ...Array.from({ length: taken }, (_, i) => {
      const token = taken - 1 - i;
      return { time: 2 + i / 50, ...blk, kind: "used", token, length: 1, after: 0, inFlight: 0 };
    }),
  ]));
  // Narrow ones that begin on the same pixel are one; the last stands for all without an answer.
  assertEquals(barsOf(page).length, 451);
  assertEquals(textOf(page, "indices", "count", "depth-words", "latency-words"), [
    "available index 600, used index 450, 150 in flight",
    "600 of 600, the first 500 shown",
    ...["most in flight: 600", "add to used: median 6.276 ms, 99% 10.9 ms"],
  ]);
  const ten = (from: number, text: (i: number) => string): string[] =>
    Array.from({ length: 10 }, (_, i) => text(from + i));
  assertEquals(page.at("available").rows, ten(590, (i) => `${i}: token ${i}`));
  assertEquals(page.at("used").rows, ten(440, (i) => `${i}: token ${449 - i}, 1 bytes`));
  assertEquals(page.at("requests").children.length, 500);
  assertEquals(page.at("buffers").rows.length, 100);
  assertEquals(page.at("buffers").rows[0], "waits: 450|available|0|0x0|1|device reads|");
  const narrow = new PageDocument(linesOf(
    [1, 1.001, 1.02, 5].flatMap((time, token) => [
      { time, ...blk, kind: "add", token, elements: [[0, 1, false]], inFlight: 1 },
      { time: time + 0.001, ...blk, kind: "used", token, length: 1, after: 0, inFlight: 0 },
    ]).concat([{ time: 10, ...blk, kind: "used", token: 9, length: 1, after: 0, inFlight: 0 }]),
  ));
  const drawn = (): string[] => barsOf(narrow);
  const bar = (x: number): string => `rgba(60,120,200,.55) ${x} 4 1.5 17`;
  assertEquals(drawn(), [bar(270), bar(272), bar(670)]);
  // What lies outside is left out at both ends.
  const zoom = (offsetX: number): void =>
    narrow.at("timeline").onwheel!({ preventDefault: () => {}, deltaY: -1, offsetX });
  zoom(670);
  assertEquals(drawn(), [bar(670)]);
  for (let i = 0; i < 4; i++) zoom(170);
  drawn();
  zoom(170);
  assertEquals(drawn().length, 0);
});
