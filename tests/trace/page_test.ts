import { assert, assertEquals, assertMatch } from "@std/assert";
import { Tracer } from "@vireo/drivers/trace";
import { PageTrace, traceText } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";
import { PAGE_WORDS } from "../../firmware/trace/page_script.ts";
import { call } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** The events of a page, as its program reads them. */
function eventsOf(page: string): Record<string, unknown>[] {
  const [, lines] = /<script id="events" type="text\/plain">\n([^<]*)/.exec(page)!;
  return lines!.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

Deno.test("trace page: one file with every event, whose program needs no network", async () => {
  const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".html" });
  try {
    const { code } = await call(`blk read --count 64 --hash --trace-file ${file}`);
    assertEquals(code, 0);
    const page = await Deno.readTextFile(file);
    assert(page.endsWith("</script></body></html>\n"));
    assertEquals(page.match(/https?:|\bimport\b|fetch\(|XMLHttp|<link|\bsrc=/g), null);
    assertMatch(page, /default-src 'none'/);
    const [, program] = /<script>([^]*?)<\/script>/.exec(page)!;
    // Syntax alone: pages are looked at in a browser.
    new Function(program!);
    const ids = [...program!.matchAll(/\$\("([\w-]+)"\)/g)].map(([, id]) => id);
    assert(ids.length > 10);
    assertEquals(ids.filter((id) => !page.includes(`id="${id}"`)), []);
    const events = eventsOf(page);
    const used = events.find(({ request }) => request === "blk READ sector 0 64 sectors: OK");
    assertEquals([used?.["kind"], used?.["name"]], ["used", "req.0"]);
    const offered = events.find(({ kind, by }) => kind === "features" && by === "device");
    assert((offered?.["names"] as string[]).includes("VERSION_1"));
    assert(events.every(({ time }) => typeof time === "number"));
    // The page words these itself; the browser's test below has their text.
    const worded = ["add", "used", "kick", "copy"];
    const without = events.filter(({ text }) => typeof text !== "string");
    assertEquals(new Set(without.map(({ kind }) => kind)), new Set(worded));
  } finally {
    await Deno.remove(file);
  }
});

/** Does what a user does with the page: filters the requests, and clicks on the first. It stands behind the page's own program. */
const USER = `<script>
addEventListener("error", ({ message }) => document.body.dataset.error = message);
addEventListener("DOMContentLoaded", () => {
  const filter = document.getElementById("filter");
  filter.value = "blk read";
  filter.dispatchEvent(new Event("input"));
  document.querySelector("#requests tr").click();
});
</script>`;

/** The text of an element of the page, without tags. */
function textIn(dom: string, id: string): string {
  const [, tag, rest] = new RegExp(`<(\\w+) id="${id}"[^>]*>([^]*)`).exec(dom)!;
  return rest!.slice(0, rest!.indexOf(`</${tag}>`)).replaceAll(/<[^>]*>/g, " ").replaceAll(
    /\s+/g,
    " ",
  ).trim();
}

Deno.test("trace page: headless Chromium opens it, filters its requests and shows the rings at a click", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const file = `${folder}/trace.html`;
  assertEquals((await call(`blk read --count 64 --hash --trace-file ${file}`)).code, 0);
  const page = await Deno.readTextFile(file);
  const adds = eventsOf(page).filter(({ kind }) => kind === "add").length;
  await Deno.writeTextFile(file, page.replace("</body>", `${USER}</body>`));
  const { success, stdout, stderr } = await new Deno.Command("chromium", {
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${folder}/profile`],
      ...["--virtual-time-budget=5000", "--dump-dom", `file://${file}`],
    ],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const dom = new TextDecoder().decode(stdout);
  assert(success, new TextDecoder().decode(stderr));
  const [body] = /<body[^>]*>/.exec(dom)!;
  assertEquals(body, `<body data-ready="${adds}">`);
  assertMatch(
    textIn(dom, "summary"),
    /^\d+ events of \d+ devices in [\d.]+ ms, \d+ buffers, 0 violations/,
  );
  assertEquals(textIn(dom, "count"), `1 of ${adds}`);
  assertMatch(
    textIn(dom, "requests"),
    /virtio1 req\.0 0 blk READ sector 0 64 sectors: OK [\d.]+ ms 32769$/,
  );
  // The moment of the click: the request was added, and has not been kicked.
  assertMatch(
    textIn(dom, "moment"),
    /ms: virtio1 'req\.0' add 0 .*: blk READ sector 0 64 sectors$/,
  );
  assertMatch(
    textIn(dom, "buffers"),
    /^0 added, not kicked 0 0x[0-9a-f]+ 16 device reads blk READ/,
  );
  assertMatch(
    textIn(dom, "indices"),
    /^available index 0, used index 0, 1 in flight, \d+ descriptors$/,
  );
  assertMatch(textIn(dom, "negotiation"), /^virtio0 reset → ACKNOWLEDGE → ACKNOWLEDGE\|DRIVER →/);
  assert(dom.includes('<span class="bit yes" title="accepted">VERSION_1</span>'));
});

Deno.test("trace page: it words frequent events as the lines of text do", () => {
  const words: Readonly<Record<string, (event: unknown) => string>> = new Function(
    `${PAGE_WORDS}; return WORDS;`,
  )();
  const at = { time: 1, device: "virtio0", deviceId: 1, queue: 1, name: "output.0" } as const;
  const buffer = { ...at, token: 3, request: undefined, inFlight: 1 } as const;
  const elements = [
    { address: 0x4008bac0, length: 16, writable: false },
    { address: 0x4008c000, length: 4096, writable: true },
  ];
  const add = { ...buffer, kind: "add", elements } as const;
  const used = { ...buffer, kind: "used", length: 4097, after: 0.9496 } as const;
  const kick = { ...at, kind: "kick", buffers: 1, notified: true } as const;
  const copy = { time: 1, device: "virtio0", deviceId: 1, kind: "copy", bytes: 1 } as const;
  const events: TraceEvent[] = [
    ...[{ ...used, length: 1 }],
    ...[add, { ...add, reversed: true }, used, { ...used, reversed: true }] as const,
    ...[{ ...add, seenBy: "device" }, { ...add, seenBy: "device", reversed: true }] as const,
    ...[kick, { ...kick, buffers: 3, notified: false }, { ...kick, buffers: 0 }],
    ...[copy, { ...copy, bytes: 4096 }],
  ];
  const page = new PageTrace();
  for (const event of events) {
    assertEquals(words[event.kind]!(JSON.parse(page.event(event))), traceText(event));
  }
});

Deno.test("trace page: no text of an event ends the page's data, and bytes stay out of it", () => {
  const page = new PageTrace();
  let line = "";
  const tracer = new Tracer((event: TraceEvent) => line = page.event(event));
  tracer.emit("slot", { kind: "fault", message: "</script><script>alert(1)<!--" });
  assert(!line.includes("<"));
  assertEquals(JSON.parse(line).text, "fault: </script><script>alert(1)<!--");
  const data = Uint8Array.of(1, 2);
  tracer.emit("slot", {
    kind: "used",
    queue: 0,
    name: "q",
    token: 0,
    request: undefined,
    length: 2,
    inFlight: 0,
    after: 0,
    data,
    frame: data,
  });
  assertEquals([JSON.parse(line).data, JSON.parse(line).frame], [undefined, undefined]);
  assertEquals(JSON.parse(line).hex, "0102");
});
