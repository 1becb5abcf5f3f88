import { assertEquals, assertThrows } from "@std/assert";
import { CheckContext, type Reply } from "./context.ts";
import { CheckFailure } from "./failure.ts";
import { demanded, knownRequest, TVERSION, TYPE } from "./requests.ts";

/** A context of a device of a type, which only says what an answer should be. */
function contextOf(id: number): CheckContext {
  const { equal, expect } = CheckContext.prototype;
  const device = { id, config: () => 1 };
  const arena = { take: () => 0, lend: () => {}, address: () => 0x1000 };
  return { device, arena, legacy: false, equal, expect } as unknown as CheckContext;
}

/** An answer of so many bytes, some of which are not 0. */
function reply(bytes: Readonly<Record<number, number>>, length = 600): Reply {
  const all = new Uint8Array(length);
  for (const [at, value] of Object.entries(bytes)) all[Number(at)] = value;
  return { bytes: all, used: { id: 0, length } } as unknown as Reply;
}

Deno.test("requests: an answer is held to what a sound device of the type says", () => {
  const cases: Partial<Record<keyof typeof TYPE, [good: Reply[], bad: Reply[]]>> = {
    // The status behind a sector.
    BLK: [[reply({})], [reply({ 512: 1 }), reply({ 512: 0xff })]],
    RNG: [[reply({}, 1)], [reply({}, 0)]],
    // OK and BAD_TARGET.
    SCSI: [[reply({}), reply({ 11: 3 })], [reply({ 11: 1 }), reply({ 11: 9 })]],
    // Rversion, and Rlerror.
    P9: [[reply({ 4: 101 })], [reply({ 4: 7 }), reply({})]],
    // OK_DISPLAY_INFO, and OK_NODATA.
    GPU: [[reply({ 0: 0x01, 1: 0x11 })], [reply({ 1: 0x11 }), reply({})]],
    // ERR and NOTSUPP of a cipher that there is not; OK and BADMSG.
    CRYPTO: [[reply({ 8: 1 }), reply({ 8: 3 })], [reply({}), reply({ 8: 2 })]],
  };
  const unchecked: string[] = [];
  for (const [name, id] of Object.entries(TYPE)) {
    const context = contextOf(id);
    const known = knownRequest(context);
    const [good, bad] = cases[name as keyof typeof TYPE] ?? [[reply({})], []];
    for (const answer of good) known?.check(context, answer);
    for (const answer of bad) assertThrows(() => known?.check(context, answer), CheckFailure);
    if (bad.length === 0) unchecked.push(name);
  }
  // What is only sent has no answer, and nothing is known of CAIF.
  assertEquals(unchecked, [
    "NET",
    "CONSOLE",
    "BALLOON",
    "RPMSG",
    "RPROC_SERIAL",
    "CAIF",
    "INPUT",
    "VSOCK",
  ]);
});

Deno.test("requests: a 9P session begins by a message that says its own length", () => {
  assertEquals(
    TVERSION.toHex(),
    "15000000" + "64" + "ffff" + "00100000" + "0800" + "39503230303" + "02e4c",
  );
});

Deno.test("requests: a host-managed disk alone demands ZONED", () => {
  const of = (id: number, model: number, offered = true): readonly number[] =>
    demanded({
      device: { id, config: (at: number) => at === 92 ? model : 9 },
      offered: () => new Set(offered ? [17] : []),
    } as unknown as CheckContext);
  assertEquals([of(2, 1), of(2, 0), of(2, 2), of(2, 1, false), of(1, 1)], [[17], [], [], [], []]);
});

Deno.test("requests: what is sent may come back to consoles alone, and a page is the device's", () => {
  const lent: number[] = [];
  const context = contextOf(TYPE.BALLOON);
  context.arena.lend = (...range) => void lent.push(...range);
  knownRequest(context);
  assertEquals(lent, [0, 4096]);
  const receiving = Object.entries(TYPE).filter(([, id]) => knownRequest(contextOf(id))?.receives);
  assertEquals(receiving.map(([name]) => name), ["CONSOLE", "RPROC_SERIAL"]);
});
