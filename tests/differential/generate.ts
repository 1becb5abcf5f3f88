import fc from "fast-check";
import { BlkRequestType, ConsoleFeature, DeviceId, NetCtrl, NetFeature } from "@vireo/hal";
import type { Register, Step } from "./program.ts";
import type { ChainFault, Element, RequestStep } from "./request.ts";

/** Sectors at either end of the disk, which programs write to; they are put back before each program. */
export const SCRATCH_SECTORS = 16;
/** Sectors of the disk. */
export const DISK_SECTORS = 2048;

type Requests = (wrong: fc.Arbitrary<ChainFault | undefined>) => fc.Arbitrary<RequestStep>;

const le32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => value >>> shift & 0xff);
const bytes = (min: number, max: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(255), { minLength: min, maxLength: max });
/** How a chain is offered; most ask for the next interrupt. */
const offering = fc.record({
  indirect: fc.boolean(),
  quiet: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.boolean()),
  event: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(3)),
}, { requiredKeys: [] });

/** Splits what the device reads into up to three elements, for it must not matter. */
function split(read: readonly number[], cuts: readonly number[]): Element[] {
  const at = [...new Set(cuts.map((cut) => cut % (read.length + 1)))].sort((a, b) => a - b);
  const edges = [0, ...at, read.length];
  return edges.slice(1).map((end, i) => ({ read: read.slice(edges[i], end) }))
    .filter((element) => element.read.length > 0);
}

function request(
  queue: fc.Arbitrary<number>,
  elements: fc.Arbitrary<readonly Element[]>,
  wrong: fc.Arbitrary<ChainFault | undefined>,
): fc.Arbitrary<RequestStep> {
  return fc.tuple(queue, elements, offering, wrong)
    .map(([queue, elements, offer, wrong]) => ({
      do: "request",
      queue,
      elements,
      ...offer,
      ...(wrong === undefined ? {} : { wrong }),
    }));
}

const rng: Requests = (wrong) =>
  request(
    fc.constant(0),
    fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 4 })
      .map((lengths) => lengths.map((write) => ({ write }))),
    wrong,
  );

const sector = fc.oneof(
  { weight: 6, arbitrary: fc.nat(SCRATCH_SECTORS - 4) },
  { weight: 1, arbitrary: fc.integer({ min: DISK_SECTORS - 2, max: DISK_SECTORS + 2 }) },
  { weight: 1, arbitrary: fc.constant(0xffffffff) },
);
const cuts = fc.array(fc.nat(40), { maxLength: 2 });

/** A block request; its data has whole sectors mostly. */
const blk: Requests = (wrong) => {
  const length = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(512, 1024) },
    { weight: 1, arbitrary: fc.nat(700) },
  );
  const status = fc.oneof(
    { weight: 12, arbitrary: fc.constant(1) },
    fc.integer({ min: 2, max: 3 }),
  );
  const header = (type: number, sector: number): number[] => [
    ...le32(type),
    ...le32(0),
    ...le32(sector),
    ...le32(sector === 0xffffffff ? 0xffffffff : 0),
  ];
  const input = fc.tuple(fc.constantFrom(BlkRequestType.IN, BlkRequestType.GET_ID), sector, length)
    .map(([type, sector, write]) => ({
      read: header(type, sector),
      data: [{ write: type === BlkRequestType.GET_ID ? 20 : write }].filter(({ write }) =>
        write > 0
      ),
    }));
  const output = fc.tuple(sector, length, fc.nat(255)).map(([sector, length, seed]) => ({
    read: header(BlkRequestType.OUT, sector),
    data: length === 0 ? [] : [{ count: length, from: seed }],
  }));
  const other = fc.constantFrom(BlkRequestType.FLUSH, 2, 0x77).map((type) => ({
    read: header(type, 0),
    data: [],
  }));
  const elements = fc.tuple(fc.oneof(input, output, other), status, cuts)
    .map(([{ read, data }, status, cuts]): Element[] => [
      ...split(read, cuts),
      ...data,
      { write: status },
    ]);
  return request(fc.constant(0), elements, wrong);
};

const HEADER = 12;

/** Frames, receive buffers and control commands. */
const net: Requests = (wrong) => {
  const transmit = fc.tuple(bytes(14, 200), cuts).map(([frame, cuts]) =>
    split([...new Array<number>(HEADER).fill(0), ...frame], cuts)
  );
  const receive = fc.integer({ min: 64, max: 1600 }).map((write) => [{ write }]);
  const command = fc.oneof(
    fc.tuple(fc.constant(NetCtrl.RX), fc.nat(6), fc.nat(1).map((on) => [on])),
    fc.tuple(fc.constant(NetCtrl.MAC), fc.constant(1), bytes(6, 6)),
    fc.tuple(fc.constant(NetCtrl.VLAN), fc.nat(2), bytes(2, 2)),
    fc.tuple(fc.constantFrom(NetCtrl.MQ, 9), fc.nat(2), bytes(0, 4)),
  ).map(([group, command, data]) => [group, command, ...data]);
  const control = fc.tuple(command, cuts).map((
    [read, cuts],
  ): Element[] => [...split(read, cuts), { write: 1 }]);
  return fc.oneof(
    request(fc.constant(1), transmit, wrong),
    request(fc.constant(0), receive, wrong),
    request(fc.constant(2), control, wrong),
  );
};

/** Output, receive buffers, and control messages; queues 2 and 3 are the control queues. */
const console: Requests = (wrong) => {
  const receive = fc.integer({ min: 16, max: 128 }).map((write) => [{ write }]);
  const output = fc.tuple(bytes(1, 80), cuts).map(([text, cuts]) => split(text, cuts));
  const message = fc.tuple(fc.nat(2), fc.nat(9), fc.nat(1))
    .map(([id, event, value]) => [{ read: [...le32(id), event, 0, value, 0] }]);
  return fc.oneof(
    { weight: 2, arbitrary: request(fc.constantFrom(0, 2, 2, 4), receive, wrong) },
    { weight: 1, arbitrary: request(fc.constantFrom(1, 5), output, wrong) },
    { weight: 2, arbitrary: request(fc.constant(3), message, wrong) },
  );
};

/** A device that both machines have, as programs use it. */
interface DeviceWords {
  readonly requests: Requests;
  /** Queues that a driver sets up. */
  readonly queues: readonly number[];
  /** Bytes of configuration that programs look at. */
  readonly config: number;
  /** Features that are accepted always, because the queues depend on them. */
  readonly needs: number;
}

/** Words of programs for each device. */
export const WORDS: Readonly<Record<"rng" | "blk" | "net" | "console", DeviceWords>> = {
  rng: { requests: rng, queues: [0], config: 0, needs: 0 },
  blk: { requests: blk, queues: [0], config: 56, needs: 0 },
  net: { requests: net, queues: [0, 1, 2], config: 8, needs: 1 << NetFeature.CTRL_VQ },
  console: {
    requests: console,
    queues: [0, 1, 2, 3, 4, 5],
    config: 12,
    needs: 1 << ConsoleFeature.MULTIPORT,
  },
};
/** A device that both machines have. */
export type DeviceName = keyof typeof WORDS;

/** Their ids, as DeviceID reads. */
export const DEVICE_IDS: Readonly<Record<DeviceName, number>> = {
  rng: DeviceId.RNG,
  blk: DeviceId.BLOCK,
  net: DeviceId.NET,
  console: DeviceId.CONSOLE,
};

const READABLE: readonly Register[] = [
  "MagicValue",
  "Version",
  "DeviceID",
  "DeviceFeatures",
  "QueueSizeMax",
  "InterruptStatus",
  "Status",
];
const word = fc.nat({ max: 0xffffffff });
const size = fc.constantFrom(8, 16, 64);
const write = (register: Register, value: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  value.map((value) => ({ do: "write", register, value }));

/** Steps of an orderly driver between requests. */
function orderly(device: DeviceName): fc.Arbitrary<Step> {
  const { config, requests } = WORDS[device];
  const look: fc.Arbitrary<Step>[] = [
    fc.constantFrom(...READABLE).map((register) => ({ do: "read", register })),
    write("InterruptACK", fc.integer({ min: 1, max: 3 })),
    write("QueueSel", fc.nat(8)),
  ];
  if (config > 0) {
    const reading = fc.tuple(fc.nat(config / 4 - 1), fc.constantFrom(1, 2, 4), fc.nat(3))
      .map(([word, width, low]): Step => ({
        do: "config",
        offset: word * 4 + (width === 4 ? 0 : low & -width),
        width: width as 1 | 2 | 4,
      }));
    look.push(reading);
  }
  return fc.oneof(
    { weight: 3, arbitrary: requests(fc.constant(undefined)) },
    { weight: 2, arbitrary: fc.oneof(...look) },
  );
}

/** Steps that a driver should not do, or not now. */
function wild(device: DeviceName, legacy: boolean): fc.Arbitrary<Step> {
  const { requests, queues } = WORDS[device];
  const fault = fc.constantFrom<ChainFault>("loop", "order", "outside", "head", "jump", "nested");
  const steps: fc.Arbitrary<Step>[] = [
    requests(fault),
    requests(fc.constant(undefined)),
    write("Status", fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 0xb, 0xf, 0x80, 0x40)),
    write("QueueSize", fc.constantFrom(0, 1, 3, 7, 8, 1024, 2048, 0xffff)),
    write("QueueSel", fc.oneof(fc.nat(9), fc.constantFrom(63, 64, 1023, 1024, 0xffffffff))),
    write("QueueNotify", fc.oneof(fc.nat(9), fc.constantFrom(1023, 1024, 0xffffffff))),
    write("InterruptACK", word),
    write("DriverFeatures", word),
    write("DriverFeaturesSel", fc.nat(3)),
    write("DeviceFeaturesSel", fc.nat(3)),
    fc.constant<Step>({ do: "read", register: "DeviceFeatures" }),
    fc.constant<Step>({ do: "reset" }),
    fc.constant<Step>({ do: "start" }),
    fc.record({ do: fc.constant("queue"), index: fc.constantFrom(...queues), size }),
  ];
  if (legacy) steps.push(write("QueueAlign", fc.constantFrom(4, 256, 4096)));
  else steps.push(write("QueueReady", fc.nat(2)));
  return fc.oneof(...steps);
}

/** A whole program: mostly a driver's set-up and its work, sometimes out of step. */
export function programs(device: DeviceName, legacy: boolean): fc.Arbitrary<Step[]> {
  const { queues, needs } = WORDS[device];
  const setUp = fc.tuple(
    fc.tuple(word, word),
    fc.array(size, { minLength: queues.length, maxLength: queues.length }),
  ).map(([features, sizes]): Step[] => [
    { do: "init", features: [(features[0] | needs) >>> 0, features[1]] },
    ...queues.map((index, i): Step => ({ do: "queue", index, size: sizes[i]! })),
    { do: "start" },
  ]);
  const work = fc.array(
    fc.oneof(
      { weight: 9, arbitrary: orderly(device) },
      { weight: 1, arbitrary: fc.constant<Step>({ do: "reset" }) },
    ),
    { maxLength: 12 },
  );
  const good = fc.tuple(setUp, work).map(([a, b]) => [...a, ...b]);
  const again = fc.tuple(good, good).map(([a, b]) => [...a, ...b]);
  const mixed = fc.tuple(
    setUp,
    fc.array(fc.oneof(orderly(device), wild(device, legacy)), {
      maxLength: 8,
    }),
  ).map(([a, b]) => [...a, ...b]);
  const chaos = fc.array(wild(device, legacy), { minLength: 1, maxLength: 10 });
  return fc.oneof(
    { weight: 4, arbitrary: good },
    { weight: 2, arbitrary: again },
    { weight: 3, arbitrary: mixed },
    { weight: 2, arbitrary: chaos },
  );
}
