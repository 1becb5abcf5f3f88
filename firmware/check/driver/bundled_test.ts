// The bundled scripts with drivers that answer by hand: each answer is looked at.
import { assertEquals } from "@std/assert";
import type { Vireo } from "../../vireo.ts";
import { BUNDLED } from "./bundled.ts";

/** What a driver's methods give; others give nothing. */
type Answers = Readonly<Record<string, unknown>>;

/** Runs a script with such a driver; what is wrong. */
async function run(name: string, answers: Answers): Promise<string> {
  const driver = new Proxy(answers, {
    get: (target, key) => key in target ? Reflect.get(target, key) : () => Promise.resolve(),
  });
  const extras = new Map([["input", { send: () => ({ sync() {} }) }]]);
  const vireo = { get: () => driver, emulated: { extras } } as unknown as Vireo;
  const { main } = BUNDLED.find((bundled) => bundled.name === name)!;
  return await Promise.resolve(main(vireo)).then(() => "nothing", (error) => error.message);
}

/** Calls that give each of the values in turn, of which the last one stays. */
function turns(...values: readonly unknown[]): () => Promise<unknown> {
  let at = 0;
  return () => Promise.resolve(values[Math.min(at++, values.length - 1)]);
}

/** A store: what was written is read, after `change`. */
function store(change: (bytes: Uint8Array, read: number) => Uint8Array): Answers {
  let kept = new Uint8Array(0);
  let reads = 0;
  return {
    write: (_: unknown, bytes: Uint8Array) => Promise.resolve(void (kept = bytes.slice())),
    send: (bytes: Uint8Array) => Promise.resolve(void (kept = bytes.slice())),
    read: (_: unknown, length: number) => Promise.resolve(change(kept, reads++).slice(0, length)),
    receive: () => Promise.resolve(change(kept, reads++)),
    getId: turns("vireo-emu"),
  };
}

const keep = (bytes: Uint8Array): Uint8Array => bytes;
const wrong = (bytes: Uint8Array): Uint8Array => bytes.with(bytes.length - 1, bytes.at(-1)! ^ 1);
const short = (bytes: Uint8Array): Uint8Array => bytes.subarray(1);

Deno.test("bundled scripts: sound answers are taken, and each that is none is said", async () => {
  const bytes = (length: number, value = 0): Uint8Array => new Uint8Array(length).fill(value);
  const frame = (length: number): Answers => ({
    ...{ mac: bytes(6), receive: turns({ bytes: bytes(length) }) },
  });
  const unit = (change: (bytes: Uint8Array) => Uint8Array): Answers => {
    const kept = store(change);
    // Its reads count blocks.
    return { unit: () => ({ ready: turns(), ...kept, read: kept["receive"] }) };
  };
  const echoed = (change: (bytes: Uint8Array) => Uint8Array): Answers => ({
    channel: turns({ address: 1 }),
    endpoint: () => ({ ...store(change), receive: receiveOf(change), [Symbol.dispose]() {} }),
  });
  /** The sixth of the messages at most is another one. */
  const receiveOf = (change: (bytes: Uint8Array) => Uint8Array) => {
    let i = 0;
    return () =>
      Promise.resolve({
        bytes: change(Uint8Array.from({ length: 400 }, (_, at) => at * 31 + (at >> 8) * 7 + i)),
        next: i++,
      });
  };
  const hash = (length: number): Answers => ({
    digest: turns(bytes(length)),
    close: turns(),
  });
  const crypto = (change: (bytes: Uint8Array) => Uint8Array, digest: number): Answers => ({
    cipher: turns({
      ...{ encrypt: (_: unknown, text: Uint8Array) => Promise.resolve(text) },
      ...{ decrypt: (_: unknown, text: Uint8Array) => Promise.resolve(change(text)) },
      close: turns(),
    }),
    hash: turns(hash(digest)),
  });
  const gpu = (displays: number): Answers => ({
    displays: turns(new Array(displays).fill({})),
    create: turns({ canvas: () => ({ testCard() {} }), flush: turns() }),
  });
  const keys = (code: number): Answers => ({
    events: () => ({ next: turns({ value: { code } }), [Symbol.dispose]() {} }),
  });
  const rows: readonly (readonly [name: string, answers: Answers, wrong: string])[] = [
    ["blk", { ...store((kept, i) => i === 0 ? kept : bytes(4096)), getId: turns("x") }, "the id"],
    ["blk", store((kept, i) => i === 0 ? kept : bytes(4096)), ""],
    ["blk", store((kept, i) => i === 0 ? wrong(kept) : bytes(4096)), "what was written"],
    ["blk", store((kept, i) => i === 0 ? short(kept) : bytes(4096)), "what was written"],
    ["blk", store((kept, i) => i === 0 ? kept : bytes(i === 12 ? 4095 : 4096)), "many reads"],
    ["net", frame(42), ""],
    ["net", frame(41), "an ARP reply"],
    ["rng", { read: turns(bytes(2000).with(1999, 1)) }, ""],
    ["rng", { read: turns(bytes(2000, 1)) }, ""],
    ["rng", { read: turns(bytes(2000)) }, "random bytes"],
    ["rng", { read: turns(bytes(1999, 1)) }, "random bytes"],
    ["balloon", { resize: turns(600, 3) }, ""],
    ["balloon", { resize: turns(599, 3) }, "the size"],
    ["balloon", { resize: turns(600, 4) }, "the size"],
    ["caif", store(keep), ""],
    ["caif", store(wrong), "the echo"],
    ["rpmsg", echoed(keep), ""],
    ["rpmsg", echoed(wrong), "the echo"],
    ["scsi", unit(keep), ""],
    ["scsi", unit(wrong), "what was written"],
    ["gpu", gpu(1), ""],
    ["gpu", gpu(2), "the display"],
    ["input", keys(30), ""],
    ["input", keys(31), "a key"],
    ["crypto", crypto(keep, 32), ""],
    ["crypto", crypto(wrong, 32), "the text"],
    ["crypto", crypto(keep, 20), "a digest"],
  ];
  for (const [name, answers, what] of rows) {
    const seen = await run(name, answers);
    assertEquals([name, seen], [name, what === "" ? "nothing" : `Wrong answer: ${what}`]);
  }
});

Deno.test("bundled scripts: a stream is read to its end, and no further", async () => {
  /** A port that gives what was written in parts of these lengths. */
  const port = (...lengths: readonly number[]): Answers => {
    let kept = new Uint8Array(0);
    let [at, part] = [0, 0];
    const opened = {
      hostOpened: turns(),
      write: (bytes: Uint8Array) => Promise.resolve(void (kept = bytes.slice())),
      read: () => {
        const length = lengths[part++];
        if (length === undefined) return Promise.resolve(null);
        const bytes = new Uint8Array(length);
        bytes.set(kept.subarray(at, at += length));
        return Promise.resolve(bytes);
      },
      [Symbol.dispose]() {},
    };
    return { port: turns({ open: () => opened }) };
  };
  const more = "Wrong answer: as many bytes as were sent";
  assertEquals(await run("rproc-serial", port(300)), "nothing");
  assertEquals(await run("rproc-serial", port(100, 0, 200)), "nothing");
  assertEquals(await run("rproc-serial", port(100, 201)), more);
  assertEquals(await run("rproc-serial", port(299)), more);
  assertEquals(await run("console", port(4999, 1)), "nothing");
  assertEquals(await run("console", port(5001)), more);
});
