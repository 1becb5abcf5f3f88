import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { FEATURE, STATUS } from "../raw/registers.ts";
import { TYPE } from "../requests.ts";

/** A feature that a device may offer only with another. */
interface Dependency {
  /** Virtio id of the type; 0 for all. */
  readonly type: number;
  /** Name of the feature. */
  readonly name: string;
  /** Its bit. */
  readonly bit: number;
  /** Names and bits of the features of which one must be there. */
  readonly needs: readonly (readonly [name: string, bit: number])[];
}

const net = (name: string, bit: number, ...needs: (readonly [string, number])[]): Dependency => ({
  type: TYPE.NET,
  name,
  bit,
  needs,
});
const CSUM = ["CSUM", 0] as const;
const GUEST_CSUM = ["GUEST_CSUM", 1] as const;
const CTRL_VQ = ["CTRL_VQ", 17] as const;
const REVISION_1 = ["REVISION_1", 0] as const;

/** The dependencies of virtio 1.4 §5.1.3.1, §5.2.3, §5.7.3, §5.9.3 and of the rings. */
const DEPENDENCIES: readonly Dependency[] = [
  net("GUEST_TSO4", 7, GUEST_CSUM),
  net("GUEST_TSO6", 8, GUEST_CSUM),
  net("GUEST_ECN", 9, ["GUEST_TSO4", 7], ["GUEST_TSO6", 8]),
  net("GUEST_UFO", 10, GUEST_CSUM),
  net("GUEST_USO4", 54, GUEST_CSUM),
  net("GUEST_USO6", 55, GUEST_CSUM),
  net("HOST_TSO4", 11, CSUM),
  net("HOST_TSO6", 12, CSUM),
  net("HOST_ECN", 13, ["HOST_TSO4", 11], ["HOST_TSO6", 12]),
  net("HOST_UFO", 14, CSUM),
  net("HOST_USO", 56, CSUM),
  net("CTRL_RX", 18, CTRL_VQ),
  net("CTRL_VLAN", 19, CTRL_VQ),
  net("GUEST_ANNOUNCE", 21, CTRL_VQ),
  net("MQ", 22, CTRL_VQ),
  net("CTRL_MAC_ADDR", 23, CTRL_VQ),
  net("NOTF_COAL", 53, CTRL_VQ),
  net("VQ_NOTF_COAL", 52, CTRL_VQ),
  net("RSS", 60, CTRL_VQ),
  net("RSC_EXT", 61, ["HOST_TSO4", 11], ["HOST_TSO6", 12]),
  { type: TYPE.BLK, name: "CONFIG_WCE", bit: 11, needs: [["FLUSH", 9]] },
  { type: TYPE.GPU, name: "CONTEXT_INIT", bit: 4, needs: [["VIRGL", 0]] },
  { type: TYPE.GPU, name: "BLOB_ALIGNMENT", bit: 5, needs: [["RESOURCE_BLOB", 3]] },
  { type: TYPE.CRYPTO, name: "CIPHER_STATELESS_MODE", bit: 1, needs: [REVISION_1] },
  { type: TYPE.CRYPTO, name: "HASH_STATELESS_MODE", bit: 2, needs: [REVISION_1] },
  { type: TYPE.CRYPTO, name: "MAC_STATELESS_MODE", bit: 3, needs: [REVISION_1] },
  { type: TYPE.CRYPTO, name: "AEAD_STATELESS_MODE", bit: 4, needs: [REVISION_1] },
  { type: TYPE.CRYPTO, name: "AKCIPHER_STATELESS_MODE", bit: 5, needs: [REVISION_1] },
  { type: 0, name: "RING_PACKED", bit: FEATURE.RING_PACKED, needs: [["VERSION_1", 32]] },
  { type: 0, name: "IN_ORDER", bit: FEATURE.IN_ORDER, needs: [["VERSION_1", 32]] },
  { type: 0, name: "NOTIFICATION_DATA", bit: 38, needs: [["VERSION_1", 32]] },
  { type: 0, name: "RING_RESET", bit: FEATURE.RING_RESET, needs: [["VERSION_1", 32]] },
];

/** Features that make no sense without another, though the specification has no requirement. */
const IMPLIED: readonly Dependency[] = [
  net("CTRL_GUEST_OFFLOADS", 2, CTRL_VQ),
  net("CTRL_RX_EXTRA", 20, CTRL_VQ),
  net("HASH_REPORT", 57, CTRL_VQ),
];

const names = ({ needs }: Dependency): string => needs.map(([name]) => name).join(" or ");
const idOf = ({ type, name }: Dependency): string => `${type}.${name.toLowerCase()}`;

const offered: Check[] = DEPENDENCIES.map((row) => ({
  id: `features.offered-with.${idOf(row)}`,
  clauses: ["dev.basic.features.1"],
  done: `the offer of ${row.name} is read`,
  expected: `${row.name} is offered only with ${names(row)}`,
  offers: [row.bit],
  scope: row.type === 0 ? {} : { devices: [row.type] },
  run(c) {
    const there = row.needs.some(([, bit]) => c.offered().has(bit));
    c.expect(`${row.name} without ${names(row)}`, there, "offered", "not offered");
  },
}));

/** Brings a device as far as FEATURES_OK with other bits. @returns Whether it stayed. */
async function propose(c: CheckContext, bits: ReadonlySet<number>): Promise<boolean> {
  await c.init({ until: "driver" });
  for (let word = 0; word < 4; word++) {
    let value = 0;
    for (const bit of bits) if (bit >>> 5 === word) value |= 1 << (bit & 31);
    c.device.accept(word, value >>> 0);
  }
  c.device.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
  return (c.device.status() & STATUS.FEATURES_OK) !== 0;
}

const alone: Check[] = DEPENDENCIES.filter(({ type }) => type !== 0).map((row) => ({
  id: `features.hostile.alone.${idOf(row)}`,
  clauses: ["dev.basic.features.3", "drv.basic.features.1"],
  done: `${row.name} is accepted without ${
    names(row)
  }, and the driver goes on whatever comes of it`,
  expected: "the device refuses FEATURES_OK, or works; after a reset it works as before",
  hostile: true,
  offers: [row.bit],
  scope: { devices: [row.type], face: "modern" },
  async run(c) {
    if (await propose(c, c.plain([row.bit]))) {
      c.device.writeStatus(c.device.status() | STATUS.DRIVER_OK);
    }
  },
}));

/** Bits that no device may offer on a transport or at all. */
const NEVER: readonly (readonly [
  name: string,
  bits: readonly number[],
  clauses: readonly string[],
  scope: NonNullable<Check["scope"]>,
])[] = [
  ["bits-24-to-27", [25, 26], ["dev.basic.features.4"], { face: "modern" }],
  ["bit-31", [31], ["dev.basic.features.4"], {}],
  ["bit-42", [42], ["dev.basic.features.4"], {
    face: "modern",
    devices: [2, 4, 5, 8, 9, 16, 18, 20],
  }],
  ["bits-44-to-49", [44, 45, 46, 47, 48, 49], ["dev.basic.features.4"], { face: "modern" }],
  ["sr-iov-on-mmio", [37], ["dev.basic.reserved-features.5"], { bus: "mmio" }],
  ["admin-vq-on-mmio", [41], ["dev.basic.features.4"], { bus: "mmio", face: "modern" }],
  ["notif-config-data-on-mmio", [39], ["dev.basic.features.4"], { bus: "mmio", face: "modern" }],
  ["unused-legacy-bit-30", [30], ["dev.basic.legacy-reserved-features.3"], {}],
];

const never: Check[] = NEVER.map(([name, bits, clauses, scope]) => ({
  id: `features.not-offered.${name}`,
  clauses,
  done: `the offer is read for bits ${bits.join(", ")}`,
  expected: "none of them is offered",
  scope,
  run(c) {
    const wrong = bits.filter((bit) => c.offered().has(bit));
    c.equal("bits that are offered", wrong.join(), "");
  },
}));

/** Type bits that virtio 1.4 gives a meaning, by type: nothing else may be offered below bit 24. */
const OWN: readonly (readonly [name: string, type: number, bits: readonly number[]])[] = [
  ["net", TYPE.NET, [
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
  ]],
  ["blk", TYPE.BLK, [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17]],
  ["console", TYPE.CONSOLE, [0, 1, 2]],
  ["rng", TYPE.RNG, []],
  ["balloon", TYPE.BALLOON, [0, 1, 2, 3, 4, 5]],
  ["scsi", TYPE.SCSI, [0, 1, 2, 3]],
  ["gpu", TYPE.GPU, [0, 1, 2, 3, 4, 5]],
  ["input", TYPE.INPUT, []],
  ["vsock", TYPE.VSOCK, [0, 1, 2]],
  ["crypto", TYPE.CRYPTO, [0, 1, 2, 3, 4, 5]],
];

const own: Check[] = OWN.map(([name, type, bits]) => ({
  id: `features.known.${name}`,
  clauses: ["dev.basic.features.4"],
  done: "the offer is read for bits 0 to 23",
  expected: "every bit has a meaning for this type of device",
  scope: { devices: [type] },
  run(c) {
    const wrong = [...c.offered()].filter((bit) => bit < 24 && !bits.includes(bit));
    c.equal("bits without a meaning", wrong.join(), "");
  },
}));

/** Sets of bits that must not be taken. */
const FOREIGN: readonly (readonly [name: string, bit: (c: CheckContext) => number | undefined])[] =
  [
    ["type-bit", (c) => range(0, 23).find((bit) => !c.offered().has(bit))],
    ["reserved-bit", () => 44],
    ["bit-63", (c) => c.offered().has(63) ? undefined : 63],
    ["bit-64", (c) => c.offered().has(64) ? undefined : 64],
    ["bit-127", (c) => c.offered().has(127) ? undefined : 127],
    ["sr-iov", (c) => c.offered().has(37) ? undefined : 37],
    ["admin-vq", (c) => c.offered().has(41) ? undefined : 41],
    ["suspend", (c) => c.offered().has(43) ? undefined : 43],
  ];

const foreign: Check[] = FOREIGN.map(([name, bit]) => ({
  id: `features.hostile.foreign.${name}`,
  clauses: ["dev.basic.features.3", "drv.basic.features.1"],
  done: "a bit is accepted that was not offered, and FEATURES_OK is written",
  expected:
    "the device keeps it out, by FEATURES_OK or by ignoring the bit; after a reset it works",
  hostile: true,
  scope: { face: "modern" },
  async run(c) {
    const found = bit(c);
    if (found === undefined) return c.skip("the device offers that bit");
    const kept = await propose(c, new Set([...c.plain(), found]));
    if (kept && c.device.bus === "pci" && found < 64) {
      c.pci.set("driver_feature_select", found >>> 5);
      const seen = c.pci.get("driver_feature") >>> (found & 31) & 1;
      c.equal(`bit ${found} of driver_feature after FEATURES_OK`, seen, 0);
    }
  },
}));

const others: Check[] = [
  {
    id: "features.version-1",
    clauses: ["dev.basic.reserved-features.1"],
    done: "the offer is read",
    expected: "VERSION_1 is offered",
    scope: { face: "modern" },
    run: (c) => c.equal("VERSION_1 is offered", c.offered().has(FEATURE.VERSION_1), true),
  },
  {
    id: "features.any-layout",
    clauses: ["dev.basic.legacy-reserved-features.2"],
    done: "the offer of the legacy interface is read",
    expected: "ANY_LAYOUT is offered",
    scope: { face: "legacy" },
    run: (c) => c.equal("ANY_LAYOUT is offered", c.offered().has(FEATURE.ANY_LAYOUT), true),
  },
  {
    id: "features.stable",
    clauses: ["virtio 1.4 §2.2"],
    done: "the offer is read before ACKNOWLEDGE, after DRIVER and after DRIVER_OK",
    expected: "it is the same each time",
    async run(c) {
      const read = (): string =>
        (c.legacy ? [0] : [0, 1, 2, 3]).map((word) => c.device.features(word)).join();
      await c.reset();
      const first = read();
      await c.init({ until: "driver" });
      c.equal("offer after DRIVER", read(), first);
      await c.init();
      c.equal("offer after DRIVER_OK", read(), first);
    },
  },
  {
    id: "features.words-beyond",
    clauses: ["dev.pci.common-cfg.3", "virtio 1.4 §2.2"],
    done: "feature words 4, 5, 100 and 0xffffffff are read",
    expected: "they are 0",
    scope: { face: "modern" },
    run(c) {
      for (const word of [4, 5, 100, 0xffffffff]) {
        c.equal(`feature word ${word}`, c.device.features(word), 0);
      }
    },
  },
  {
    id: "features.all",
    clauses: ["dev.basic.features.2"],
    done: "all bits that are offered are accepted",
    expected: "FEATURES_OK stays",
    scope: { face: "modern" },
    async run(c) {
      c.equal("FEATURES_OK", await propose(c, c.offered()), true);
    },
  },
  {
    id: "features.fewest",
    clauses: ["dev.basic.features.2"],
    done: "VERSION_1 alone is accepted, and ACCESS_PLATFORM if it is offered",
    expected: "FEATURES_OK stays",
    scope: { face: "modern" },
    async run(c) {
      c.equal("FEATURES_OK", await propose(c, c.plain()), true);
    },
  },
  {
    id: "features.one-by-one",
    clauses: ["dev.basic.features.2"],
    done: "each offered bit is accepted alone, with what it depends on",
    expected: "FEATURES_OK stays each time",
    scope: { face: "modern" },
    async run(c) {
      for (const bit of c.offered()) {
        const bits = c.plain([bit]);
        for (let size = 0; size !== bits.size;) {
          size = bits.size;
          for (const row of [...DEPENDENCIES, ...IMPLIED]) {
            const applies = (row.type === 0 || row.type === c.device.id) && bits.has(row.bit);
            if (!applies || row.needs.some(([, need]) => bits.has(need))) continue;
            const need = row.needs.find(([, need]) => c.offered().has(need));
            if (need !== undefined) bits.add(need[1]);
          }
        }
        c.expect(`FEATURES_OK with bit ${bit}`, await propose(c, bits), "clear", "set");
      }
    },
  },
  {
    id: "features.hostile.no-version-1",
    clauses: ["dev.basic.features.3", "drv.basic.reserved-features.1"],
    done: "no bit is accepted at all, VERSION_1 neither, and FEATURES_OK is written",
    expected: "the device takes the driver for a legacy one, or refuses; after a reset it works",
    hostile: true,
    scope: { face: "modern" },
    async run(c) {
      await propose(c, new Set());
    },
  },
  {
    id: "features.hostile.all-ones",
    clauses: ["dev.basic.features.3"],
    done: "all bits of four words are accepted",
    expected: "FEATURES_OK does not stay, or foreign bits are ignored; after a reset it works",
    hostile: true,
    scope: { face: "modern" },
    async run(c) {
      await propose(c, new Set(range(0, 127)));
    },
  },
  {
    id: "features.hostile.after-features-ok",
    clauses: ["drv.basic.init.3"],
    done: "the driver takes all its features back after FEATURES_OK, and sets DRIVER_OK",
    expected: "the device works by what was settled: a request is answered",
    hostile: true,
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ until: "queues" });
      for (const word of [0, 1]) c.device.accept(word, 0);
      c.device.writeStatus(c.device.status() | STATUS.DRIVER_OK);
      await c.cleanRequest();
    },
  },
  {
    id: "features.hostile.while-running",
    clauses: ["drv.basic.init.3"],
    done: "features are written while the device runs",
    expected: "the device works by what was settled: a request is answered",
    hostile: true,
    request: true,
    async run(c) {
      await c.init();
      for (const word of c.legacy ? [] : [0, 1]) c.device.accept(word, 0xffffffff);
      await c.cleanRequest();
    },
  },
];

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Features, on both transports. */
export const FEATURE_CHECKS: readonly Check[] = [
  ...others.filter(({ hostile }) => !hostile),
  ...offered,
  ...never,
  ...own,
  ...others.filter(({ hostile }) => hostile),
  ...foreign,
  ...alone,
];
