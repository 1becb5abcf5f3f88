import { assertEquals, assertRejects } from "@std/assert";
import { SCSI_CONFIG, ScsiTaskManagement, VireoError } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { ScsiHost } from "./host.ts";

/** A device's answer: a header of 12 bytes, 96 of sense data, and the command's data. */
interface Answer {
  readonly status?: number;
  readonly response?: number;
  readonly residual?: number;
  readonly sense?: readonly number[];
  /** Length that it says of the sense data; that of `sense` by default. */
  readonly senseLength?: number;
  readonly data?: readonly number[];
  /** Bytes that it says it wrote; all by default. */
  readonly used?: number;
}

type Config = Partial<Record<keyof typeof SCSI_CONFIG, number>>;

/** A host of a device that answers commands as the test says, or holds them. */
function rig(
  answer: (cdb: Uint8Array, lun: Uint8Array) => Answer | undefined,
  config: Config = {},
) {
  const fake = new FakeDevice();
  const values = { num_queues: 1, max_sectors: 8, cmd_per_lun: 4, ...config };
  for (const [name, value] of Object.entries(values)) {
    const { offset } = SCSI_CONFIG[name as "num_queues"];
    if (name === "max_target") fake.config.setUint16(offset, value, true);
    else fake.config.setUint32(offset, value, true);
  }
  const complete = (request: FakeRequest, answer: Answer): void => {
    const { status = 0, response = 0, residual = 0, sense = [], data = [] } = answer;
    const bytes = new Uint8Array(12 + 96 + data.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, answer.senseLength ?? sense.length, true);
    view.setUint32(4, residual, true);
    bytes[10] = status;
    bytes[11] = response;
    bytes.set(sense, 12);
    bytes.set(data, 108);
    request.fill(bytes);
    request.complete(undefined, answer.used ?? bytes.length);
    request.queue.interrupt();
  };
  fake.script = (request) => {
    if (request.queue.index < 2) return;
    const sent = request.readable;
    const said = answer(sent.subarray(19, 51), sent.subarray(0, 8));
    if (said !== undefined) complete(request, said);
  };
  const device = Object.assign(fake.device, { queues: fake.queues, ready() {} });
  const host = new ScsiHost(device);
  host.scan();
  return { fake, host, complete };
}

const GONE = new VireoError("DEVICE_STATE", "As the test wants");
const UNIT = { target: 3, lun: 300 };
const zeroes = (length: number): number[] => Array<number>(length).fill(0);

Deno.test("scsi host: an answer is as long as it must be, by what the command reads and what is left over", async () => {
  const cases = [
    [{ read: 0 }, { used: 12 }, 0],
    [{ read: 0 }, { used: 11 }, "BAD_LENGTH"],
    [{ read: 16 }, { data: zeroes(16) }, 16],
    [{ read: 16 }, { data: zeroes(15) }, "BAD_LENGTH"],
    [{ read: 16 }, { data: zeroes(16), residual: 6 }, 10],
    [{ read: 16 }, { data: zeroes(10), residual: 6 }, 10],
    [{ read: 16 }, { data: zeroes(9), residual: 6 }, "BAD_LENGTH"],
    // More than all cannot be left over.
    [{ read: 16 }, { residual: 17 }, 0],
    // One that failed has what it has.
    [{ read: 16 }, { status: 2, data: zeroes(3) }, 3],
    [{ write: new Uint8Array(16) }, { residual: 16, used: 12 }, 0],
  ] as const;
  for (const [task, answer, expected] of cases) {
    const { host } = rig(() => answer);
    const sent = host.command({ unit: UNIT, cdb: Uint8Array.of(0x28), ...task });
    if (typeof expected === "string") {
      assertEquals((await assertRejects(() => sent, VireoError)).code, expected);
    } else {
      const { data, residual } = await sent;
      const total = "write" in task ? task.write.length : task.read;
      assertEquals([data.length, residual], [
        expected,
        Math.min(total, "residual" in answer ? answer.residual : 0),
      ]);
    }
  }
});

Deno.test("scsi host: a command has 32 bytes and the host's sectors at most, and its unit's address", async () => {
  const seen: number[][] = [];
  const { host } = rig((cdb, lun) => {
    seen.push([...lun], [...cdb.subarray(30)]);
    return { data: zeroes(4096) };
  });
  const cdb = new Uint8Array(32).fill(7);
  await host.command({ unit: UNIT, cdb, read: 8 * 512 });
  assertEquals(seen, [[1, 3, 0x41, 0x2c, 0, 0, 0, 0], [7, 7]]);
  const send = (more: object) => () => host.command({ unit: UNIT, cdb, ...more });
  await assertRejects(send({ cdb: new Uint8Array(33) }), RangeError, "block of 33 bytes");
  for (const more of [{ read: 4097 }, { write: new Uint8Array(4097) }]) {
    const error = await assertRejects(send(more), VireoError);
    assertEquals([error.code, error.seen, error.expected], [
      "OUT_OF_RANGE",
      "4097 bytes",
      "at most 4096 bytes",
    ]);
  }
});

Deno.test("scsi host: it uses all queues in turn, at least one and at most eight", async () => {
  for (const [count, used] of [[0, 1], [1, 1], [3, 3], [9, 8]] as const) {
    const { fake, host } = rig(() => undefined, { num_queues: count, cmd_per_lun: 64 });
    assertEquals(fake.queues.length, 2 + used);
    for (let i = 0; i < used + 1; i++) {
      host.command({ unit: UNIT, cdb: new Uint8Array(6) }).catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(fake.queues.slice(2).map(({ inFlight }) => inFlight), [
      2,
      ...Array<number>(used - 1).fill(1),
    ]);
    host.failed(GONE);
  }
});

Deno.test("scsi host: a unit has no more commands at once than it may, other units have their own", async () => {
  for (const [perUnit, most] of [[1, 1], [2, 2], [0, 1], [100, 64]] as const) {
    const { fake, host, complete } = rig(() => undefined, { cmd_per_lun: perUnit });
    const queue = fake.queues[2]!;
    const sent = Array.from(
      { length: most + 1 },
      () => host.command({ unit: UNIT, cdb: new Uint8Array(6) }),
    );
    await turn();
    assertEquals(queue.inFlight, most);
    const [first] = fake.pending.filter((request) => request.queue === queue);
    complete(first!, {});
    await sent[0];
    await turn();
    assertEquals(queue.inFlight, most);
    if (most < 64) {
      const other = host.command({ unit: { target: 4, lun: 0 }, cdb: new Uint8Array(6) });
      other.catch(() => {});
      await turn();
      assertEquals(queue.inFlight, most + 1);
    }
    const ends = Promise.allSettled(sent);
    host.failed(GONE);
    assertEquals((await ends).filter(({ status }) => status === "rejected").length, most);
  }
});

Deno.test("scsi host: a turn that does not come in time is missed with what the device was asked once more", async () => {
  const { host } = rig(() => undefined, { cmd_per_lun: 1 });
  const held = host.command({ unit: UNIT, cdb: new Uint8Array(6) });
  const late = host.command({ unit: UNIT, cdb: new Uint8Array(6) }, { deadline: 1 });
  const error = await assertRejects(() => late, VireoError, "unit 3:300 to end an earlier command");
  assertEquals([error.code, error.seen], [
    "TIMEOUT",
    "nothing in the used ring, even after another notification",
  ]);
  host.failed(GONE);
  await assertRejects(() => held, VireoError);
});

Deno.test("scsi host: it says the largest target and unit number that the device has", () => {
  const { host } = rig(() => undefined, { max_target: 0x123, max_lun: 0x3fff });
  assertEquals([host.maxTarget, host.maxLun], [0x123, 0x3fff]);
});

Deno.test("scsi host: sense data is as long as the device says, and at most 96 bytes", async () => {
  for (
    const [senseLength, seen] of [
      [18, [5, 0x24]],
      // All that one must have to name its key, and less.
      [3, [5, 0]],
      [2, undefined],
      [0, undefined],
      [0xffffffff, [5, 0x24]],
    ] as const
  ) {
    const answer = { status: 2, sense: sense(5, 0x24), senseLength };
    const { sense: decoded } = await rig(() => answer).host
      .command({ unit: UNIT, cdb: new Uint8Array(6) });
    assertEquals(decoded && [decoded.key, decoded.asc], seen && [...seen]);
  }
});

Deno.test("scsi host: a command that did not reach its unit fails with why", async () => {
  for (
    const [response, code, seen] of [
      [0, undefined],
      [10, undefined],
      [1, "IO_ERROR", "OVERRUN"],
      [3, "NO_DEVICE", "BAD_TARGET"],
      [11, "UNSUPPORTED", "FUNCTION_REJECTED"],
      [12, "NO_DEVICE", "INCORRECT_LUN"],
      [99, "IO_ERROR", 99],
    ] as const
  ) {
    const { host } = rig(() => ({ response }));
    const sent = host.command({ unit: UNIT, cdb: new Uint8Array(6) });
    if (code === undefined) await sent;
    else {
      const error = await assertRejects(() => sent, VireoError);
      assertEquals([error.code, error.seen, error.expected], [code, seen, "OK"]);
    }
  }
});

/** Fixed sense data of a key and a code. */
const sense = (
  key: number,
  asc = 0,
): number[] => [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, 0];

Deno.test("scsi host: a unit's refusal is an error by its sense data; its attention is asked for three times more", async () => {
  for (
    const [answer, code, seen] of [
      [{ status: 2, sense: sense(7, 0x27) }, "READ_ONLY"],
      [{ status: 2, sense: sense(5, 0x21) }, "OUT_OF_RANGE"],
      [{ status: 2, sense: sense(5, 0x25) }, "NO_DEVICE"],
      [{ status: 2, sense: sense(5, 0x20) }, "UNSUPPORTED"],
      [{ status: 2, sense: sense(3, 0x11) }, "IO_ERROR"],
      [{ status: 8 }, "IO_ERROR", "status 8"],
    ] as const
  ) {
    let asked = 0;
    const { host } = rig(() => (asked++, answer));
    const error = await assertRejects(
      () => host.data({ unit: UNIT, cdb: new Uint8Array(6) }),
      VireoError,
    );
    assertEquals([error.code, asked], [code, 1]);
    if (seen !== undefined) assertEquals(error.seen, seen);
  }
  for (const attentions of [3, 4]) {
    let asked = 0;
    const { host } = rig(() => asked++ < attentions ? { status: 2, sense: sense(6) } : {});
    const sent = host.data({ unit: UNIT, cdb: new Uint8Array(6) });
    if (attentions === 3) await sent;
    else await assertRejects(() => sent, VireoError);
    assertEquals(asked, 4);
  }
});

Deno.test("scsi host: all targets are asked for their units, as far as the answer is long", async () => {
  const entry = (a: number, b: number): number[] => [a, b, 0, 0, 0, 0, 0, 0];
  const list = (length: number, ...entries: number[][]): number[] =>
    [0, 0, length >> 8, length & 0xff, 0, 0, 0, 0].concat(...entries);
  const answers: readonly number[][] = [
    // In order of their numbers; of two forms, and one that is for no disk.
    list(32, entry(0x41, 0x2c), entry(0, 5), entry(0x80, 1), entry(0, 0)),
    list(8, entry(0, 7), entry(0, 8)),
    // Longer than what came, or too short to be a list.
    list(0xffff, entry(0, 9), [0, 1, 2]),
    [0, 0, 0],
  ];
  const { host } = rig((_, lun) => {
    const data = answers[lun[1]!];
    if (data === undefined) return { response: 3 };
    return { data, residual: 2056 - data.length };
  }, { max_target: 5, max_sectors: 64 });
  assertEquals((await host.units()).map(({ target, lun }) => [target, lun]), [
    [0, 0],
    [0, 5],
    [0, 300],
    [1, 7],
    [2, 9],
  ]);
  const asked: number[] = [];
  for (const [largest, count] of [[0, 1], [255, 256], [256, 256]] as const) {
    asked.length = 0;
    const { host } = rig((_, lun) => (asked.push(lun[1]!), { response: 3 }), {
      max_target: largest,
    });
    assertEquals([await host.units(), asked.length, asked.at(-1)], [[], count, count - 1]);
  }
  const broken = rig(() => ({ response: 9 }));
  await assertRejects(() => broken.host.units(), VireoError, "not reached");
});

Deno.test("scsi host: a task management function succeeds, completes or is refused", async () => {
  for (
    const [response, expected] of [[10, true], [0, false], [11, "UNSUPPORTED"], [
      12,
      "NO_DEVICE",
    ]] as const
  ) {
    const { fake, host } = rig(() => undefined);
    let sent: number[] = [];
    fake.script = (request) => {
      if (request.queue.index !== 0) return;
      sent = [...request.readable];
      request.fill(Uint8Array.of(response));
      request.complete(undefined, 1);
      request.queue.interrupt();
    };
    const managed = host.manage(ScsiTaskManagement.QUERY_TASK, UNIT, 0x1_0000_0002);
    if (typeof expected === "string") {
      assertEquals((await assertRejects(() => managed, VireoError)).code, expected);
    } else assertEquals(await managed, expected);
    assertEquals(sent, [
      0,
      0,
      0,
      0,
      6,
      0,
      0,
      0,
      1,
      3,
      0x41,
      0x2c,
      0,
      0,
      0,
      0,
      2,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
    ]);
  }
});

Deno.test("scsi host: eight buffers wait for events, as long as the device says, within 16 and 4096 bytes", () => {
  for (const [size, bytes] of [[0, 16], [16, 16], [20, 20], [4096, 4096], [4097, 4096]] as const) {
    const { fake } = rig(() => undefined, { event_info_size: size });
    const buffers = fake.pending.filter(({ queue }) => queue.index === 1);
    assertEquals(buffers.map(({ writableLength }) => writableLength), Array(8).fill(bytes));
  }
});

Deno.test("scsi host: events are told by what happened, and where", async () => {
  const { fake, host } = rig(() => undefined);
  using events = host.events();
  const happen = (event: number, reason: number, length = 16): void => {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, event, true);
    bytes.set([1, 3, 0x41, 0x2c], 4);
    view.setUint32(12, reason, true);
    const request = fake.pending.find(({ queue }) => queue.index === 1)!;
    request.fill(bytes);
    request.complete(undefined, length);
    request.queue.interrupt();
  };
  happen(1, 0);
  happen(1, 1);
  happen(1, 2);
  happen(3, 0x0f2a);
  // Nothing, something unknown, and one that is too short.
  happen(0, 0);
  happen(2, 0);
  happen(1, 0, 15);
  happen(0x80000001, 2);
  // The device had no buffer for events, and has nothing else to tell.
  happen(0x80000000, 0);
  const place = { target: 3, lun: 300 };
  const seen: unknown[] = [];
  for (let i = 0; i < 7; i++) seen.push((await events.next()).value);
  assertEquals(seen, [
    { kind: "reset", ...place },
    { kind: "rescan", ...place },
    { kind: "removed", ...place },
    { kind: "changed", ...place, asc: 0x2a, ascq: 0x0f },
    { kind: "missed" },
    { kind: "removed", ...place },
    { kind: "missed" },
  ]);
});
