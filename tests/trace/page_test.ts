import { assert, assertEquals, assertMatch } from "@std/assert";
import { Tracer } from "@vireo/drivers/trace";
import { PageTrace } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";
import { vireo } from "../cli_helper.ts";

/** The events of a page, as its program reads them. */
function eventsOf(page: string): Record<string, unknown>[] {
  const [, lines] = /<script id="events" type="text\/plain">\n([^<]*)/.exec(page)!;
  return lines!.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

Deno.test("trace page: one file with every event, whose program needs no network", async () => {
  const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".html" });
  try {
    const { code } = await vireo(`blk read --count 64 --hash --trace-file ${file}`);
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
    assert(events.every(({ text, time }) => typeof text === "string" && typeof time === "number"));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("trace page: no text of an event ends the page's data, and bytes stay out of it", () => {
  const page = new PageTrace();
  let line = "";
  const tracer = new Tracer((event: TraceEvent) => line = page.event(event));
  tracer.emit("slot", { kind: "fault", message: "</script><script>alert(1)<!--" });
  assert(!line.includes("<"));
  assertEquals(JSON.parse(line).message, "</script><script>alert(1)<!--");
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
});
