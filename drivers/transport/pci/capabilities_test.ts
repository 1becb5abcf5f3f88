import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { type PciBar, VireoError } from "@vireo/hal";
import {
  le32,
  PCI_PLACE,
  standardCapabilities,
  virtioCapability,
} from "../../testing/pci_config_script.ts";
import { type PciScript, ScriptedPci } from "../../testing/scripted_pci.ts";
import { dma, fields, modern } from "./test_util.ts";
import { capabilityText } from "./details.ts";
import { probePci } from "./probe.ts";

const [COMMON, ISR, DEVICE, NOTIFY] = standardCapabilities() as [
  number[],
  number[],
  number[],
  number[],
];

function refusal(script: PciScript): Record<string, unknown> {
  const fn = new ScriptedPci(script);
  const error = assertThrows(() => probePci(fn, dma), VireoError);
  assertEquals(fn.leases, 0);
  assertEquals(fn.log, []);
  return fields(error);
}

/** A capability of a type, as it would be but for one thing. */
function common(but: Parameters<typeof virtioCapability>[0] extends infer T ? Partial<T> : never) {
  return virtioCapability({ type: 1, length: 64, ...but });
}

const rest = [ISR, DEVICE, NOTIFY];

Deno.test("pci capabilities are listed as found, with what is not used and why", () => {
  const [, transport] = modern({
    capabilities: [
      [0x01, 0, 8, 0, 0, 0, 0, 0], // power management
      [9, 0, 6, 9, 0x34, 0x12], // VENDOR of vendor 0x1234
      virtioCapability({ type: 7 }),
      ...standardCapabilities(),
      virtioCapability({
        type: 8,
        id: 5,
        offset: 0x800,
        length: 0x400,
        more: [...le32(0), ...le32(0)],
      }),
    ],
  });
  assertEquals(transport.pci.capabilities.map(capabilityText), [
    "VENDOR of vendor 0x1234",
    "type 0x7 BAR0+0x0, 0x0 bytes (not used: its type is reserved)",
    "COMMON BAR4+0x0, 0x40 bytes",
    "ISR BAR4+0x1000, 0x1000 bytes",
    "DEVICE BAR4+0x2000, 0x1000 bytes",
    "NOTIFY BAR4+0x3000, 0x1000 bytes, 0x4 a queue",
    "SHARED_MEMORY 5 BAR4+0x800, 0x400 bytes",
  ]);
  assertEquals(transport.sharedMemory(5), { address: 0xfe00_0800, length: 0x400 });
  assertEquals(transport.sharedMemory(4), undefined);
});

for (
  const [what, capability, why] of [
    ["reserved BAR 6", common({ bar: 6 }), "its BAR is reserved: 0x6"],
    ["reserved BAR 255", common({ bar: 255 }), "its BAR is reserved: 0xff"],
    ["a BAR that is not there", common({ bar: 2 }), "BAR2 decodes nothing"],
    ["a short capability", common({ size: 15 }), "its length is 0xf, expected at least 0x10"],
    [
      "no multiplier",
      virtioCapability({ type: 2, length: 4 }),
      "its length is 0x10, expected at least 0x14",
    ],
    [
      "no high words",
      virtioCapability({ type: 8, length: 4, more: le32(0) }),
      "its length is 0x14, expected at least 0x18",
    ],
    [
      "shared memory past the BAR",
      virtioCapability({ type: 8, offset: 0x3f00, length: 0x101, more: [...le32(0), ...le32(0)] }),
      "it ends past BAR4's 0x4000 bytes",
    ],
    [
      "shared memory past 2^53",
      virtioCapability({ type: 8, length: 1, more: [...le32(~0), ...le32(~0)] }),
      "it ends past BAR4's 0x4000 bytes",
    ],
  ] as const
) {
  Deno.test(`pci passes over ${what}; the first good one of a type wins (drv.pci.caps.1, .2, .4)`, () => {
    const other = common({ offset: 0x100 });
    const [, transport] = modern({ capabilities: [capability, COMMON, other, ...rest] });
    assertEquals(transport.pci.capabilities[0]!.refused, why);
    assertEquals(transport.sharedMemory(0), undefined);
    transport.readStatus();
    assertEquals(transport.kind, "pci-modern");
  });
}

Deno.test("pci takes capabilities that are longer than specified (drv.pci.caps.3)", () => {
  const longer = standardCapabilities().map((bytes) => {
    const copy = [...bytes, 1, 2, 3, 4];
    copy[2] = copy.length;
    return copy;
  });
  const [fn, transport] = modern({ capabilities: longer });
  transport.readStatus();
  assertEquals(fn.log, ["r common.device_status:1 0x0"]);
});

Deno.test("pci uses the first of two good structures", () => {
  const [fn, transport] = modern({
    capabilities: [common({ offset: 0x800 }), COMMON, ...rest],
  });
  transport.readStatus();
  assertEquals(fn.log, ["r common.0x814:1 0x0"]);
});

for (
  const [what, type, but, seen, expected] of [
    ["an empty COMMON", 1, { length: 0 }, 0, "at least 0x38"],
    ["a short COMMON", 1, { length: 55 }, 55, "at least 0x38"],
    ["a misaligned COMMON", 1, { offset: 2, length: 64 }, 2, "a multiple of 0x4"],
    ["COMMON past its BAR", 1, { offset: 0x3fc8, length: 64 }, 0x4008, "at most 0x4000"],
    ["COMMON far past its BAR", 1, { offset: 0x4000, length: 64 }, 0x4040, "at most 0x4000"],
    [
      "COMMON that wraps",
      1,
      { offset: 0xffffffc4, length: 64 },
      0x1_0000_0004,
      "at most 0x100000000",
    ],
    ["an empty ISR", 3, { length: 0 }, 0, "at least 0x1"],
    ["ISR past its BAR", 3, { offset: 0x4000, length: 1 }, 0x4001, "at most 0x4000"],
    ["an empty DEVICE", 4, { length: 0 }, 0, "at least 0x1"],
    ["a misaligned DEVICE", 4, { offset: 2, length: 8 }, 2, "a multiple of 0x4"],
    ["DEVICE past its BAR", 4, { offset: 0x3ffc, length: 8 }, 0x4004, "at most 0x4000"],
    ["a short NOTIFY", 2, { length: 1, more: le32(4) }, 1, "at least 0x2"],
    ["a misaligned NOTIFY", 2, { offset: 1, length: 4, more: le32(4) }, 1, "a multiple of 0x2"],
    [
      "NOTIFY past its BAR",
      2,
      { offset: 0x3ffe, length: 4, more: le32(4) },
      0x4002,
      "at most 0x4000",
    ],
  ] as const
) {
  Deno.test(`pci refuses ${what}, and does not fall back to legacy for it`, () => {
    const bad = virtioCapability({ type, ...but });
    const capabilities = [COMMON, ISR, DEVICE, NOTIFY].filter((good) => good[3] !== type);
    const at = `capability 0x${(0x40).toString(16)}`;
    for (const device of [0x1040 + 42, 0x1000]) {
      assertEquals(refusal({ device, capabilities: [bad, ...capabilities] }), {
        code: "BAD_CAPABILITY",
        register: at,
        queue: undefined,
        seen,
        expected,
      });
    }
  });
}

for (
  const [missing, capabilities] of [["ISR", [COMMON, NOTIFY]], ["NOTIFY", [COMMON, ISR]]] as const
) {
  Deno.test(`pci refuses COMMON without ${missing}`, () => {
    assertEquals(refusal({ capabilities }), {
      code: "BAD_CAPABILITY",
      register: undefined,
      queue: undefined,
      seen: "COMMON",
      expected: `${missing} too`,
    });
  });
}

Deno.test("pci does without DEVICE until somebody reads it", () => {
  const [fn, transport] = modern({ capabilities: [COMMON, ISR, NOTIFY] });
  const error = assertThrows(() => transport.readConfig(0, 1), VireoError);
  assertEquals([error.code, error.register, error.expected], [
    "CONFIG_ACCESS",
    "Config+0",
    "at most 0x0",
  ]);
  assertEquals(fn.log, []);
});

Deno.test("pci uses structures that are longer than needed only as far (drv.pci.caps.5, .6)", () => {
  const isr = virtioCapability({ type: 3, offset: 0x3fff, length: 0x1000 });
  const big = virtioCapability({ type: 4, offset: 0x3000, length: 0xffff });
  const [fn, transport] = modern({ capabilities: [COMMON, isr, big, NOTIFY] });
  transport.takeInterruptCause();
  assertEquals(fn.log.length, 1);
  assertThrows(() => transport.readConfig(0x1000, 1), VireoError);
});

Deno.test("pci refuses a capability list that is a loop", () => {
  for (const patch of [{ 0x41: 0x40 }, { 0x71: 0x43 }]) {
    const code = { code: "BAD_CAPABILITY", register: "cap_next", queue: undefined };
    assertEquals(refusal({ patch }), { ...code, seen: 0x40, expected: "each capability once" });
  }
});

Deno.test("pci ends its walk as Linux does: no list, a pointer into the header, an absent one", () => {
  const none = { code: "NO_DEVICE", register: undefined, queue: undefined, expected: undefined };
  for (const patch of [{ 0x06: 0 }, { 0x34: 0 }, { 0x34: 0x3c }, { 0x40: 0xff }]) {
    assertEquals(refusal({ patch }), { ...none, seen: 0x106a });
  }
});

Deno.test("pci passes over a capability that ends past the list", () => {
  const [, transport] = modern({ patch: { 0xf8: 9, 0xfa: 16, 0xfb: 4, 0x41: 0xf8, 0xf9: 0x50 } });
  const last = transport.pci.capabilities.find(({ at }) => at === 0xf8);
  assertEquals(last?.refused, "it ends past the capabilities' 256 bytes");
});

Deno.test("pci takes a capability that ends with the list", () => {
  const last = [...COMMON];
  const patch = Object.fromEntries(last.map((byte, i) => [0xf0 + i, byte]));
  const [, transport] = modern({
    capabilities: [ISR, DEVICE, NOTIFY],
    patch: { ...patch, 0x61: 0xf0 },
  });
  assertEquals(transport.pci.capabilities.at(-1)!.at, 0xf0);
  assertEquals(transport.pci.capabilities.at(-1)!.refused, undefined);
});

Deno.test("pci finds shared memory by 64 bits of place and length, to the end of its BAR", () => {
  const size = 2 ** 34;
  const bars = [
    ...PCI_PLACE.BARS.slice(1),
    { index: 2, space: "memory", address: 0x8_0000_0000, size } as const,
  ];
  const shared = virtioCapability({
    type: 8,
    bar: 2,
    id: 1,
    offset: 0x1000,
    length: 0xffff_f000,
    // 4 GiB up, and 8 GiB more.
    more: [...le32(1), ...le32(2)],
  });
  const [, transport] = modern({ bars, capabilities: [shared, COMMON, ...rest] });
  assertEquals(transport.sharedMemory(1), {
    address: 0x9_0000_1000,
    length: size - 0x1_0000_1000,
  });
});

Deno.test("pci refuses a structure at the end of 32 bits by the end of its BAR", () => {
  const at = common({ offset: 2 ** 32 - 64 });
  const { seen, expected } = refusal({ capabilities: [at, ...rest] });
  assertEquals([seen, expected], [2 ** 32, "at most 0x4000"]);
});

Deno.test("pci reaches BARs that cannot be mapped through configuration space (drv.pci.cfg-access.1, .2)", () => {
  const fn = new ScriptedPci({ unmapped: [4], access: true, queues: [8] });
  using transport = probePci(fn, dma);
  assertEquals([...transport.readFeatures()], [32]);
  transport.writeStatus(1);
  assertEquals([transport.readStatus(), fn.status], [1, 1]);
  assertEquals(transport.queueMaxSize(0), 8);
  assertEquals(
    fn.space.slice(0xc8 + 4, 0xc8 + 16),
    Uint8Array.of(4, 0, 0, 0, 28, 0, 0, 0, 2, 0, 0, 0),
  );
  const plain = new ScriptedPci({ unmapped: [4] });
  assertEquals(assertThrows(() => probePci(plain, dma), VireoError).code, "BAD_ACCESS");
});

Deno.test("pci survives any configuration space: typed errors, no loop, no access outside BARs", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const number = fc.oneof(
    fc.constantFrom(0, 1, 2, 4, 16, 56, 64, 0xfff, 0x1000, 0x3fff, 0x4000, 0xffffffff),
    fc.integer({ min: 0, max: 0xffffffff }),
  );
  const capability = fc.record({
    type: fc.oneof(fc.constantFrom(1, 2, 3, 4, 5, 8, 9), byte),
    bar: fc.oneof(fc.constantFrom(0, 1, 4, 4, 4), byte),
    id: byte,
    offset: number,
    length: number,
    size: fc.oneof(fc.constantFrom(16, 20, 24), byte),
    more: fc.array(byte, { maxLength: 8 }),
  }).map(virtioCapability);
  const good = fc.constantFrom(...standardCapabilities());
  const bars = fc.subarray([...PCI_PLACE.BARS] as PciBar[]).chain((bars) =>
    fc.array(fc.constantFrom(1, 16, 0x40, 0x1000, 0x4000), { minLength: 3, maxLength: 3 })
      .map((sizes) => bars.map((bar, i) => ({ ...bar, size: sizes[i]! })))
  );
  const script = fc.record({
    device: fc.constantFrom(0x106a, 0x1000, 0x1041, 0x107f, 0x1040),
    capabilities: fc.array(fc.oneof(capability, good, good), { maxLength: 6 }),
    access: fc.boolean(),
    vectors: fc.constantFrom(0, 1, 4, 2048),
    msixTable: number,
    messages: fc.constant(64),
    bars: fc.option(bars, { nil: undefined }),
    unmapped: fc.subarray([0, 1, 4]),
    patch: fc.dictionary(fc.integer({ min: 4, max: 255 }).map(String), byte, { maxKeys: 4 }),
    force: fc.boolean(),
    register: fc.dictionary(
      fc.constantFrom(
        "common.queue_notify_off",
        "common.queue_size",
        "legacy.queue_size",
        "common.num_queues",
      ),
      fc.integer({ min: 0, max: 0xffff }),
    ),
  });
  let opened = 0;
  fc.assert(
    fc.property(script, ({ bars, register, force, patch, ...script }) => {
      const reads = Object.fromEntries(
        Object.entries(register).map(([name, value]) => [name, () => value]),
      );
      const whole = { ...script, patch, reads, ...(bars && { bars }) };
      const fn = new ScriptedPci(whole as PciScript);
      const attempt = (step: () => void): void => {
        try {
          step();
        } catch (error) {
          if (!(error instanceof VireoError)) throw error;
        }
      };
      attempt(() => {
        using transport = probePci(fn, dma, { forceLegacy: force });
        opened++;
        attempt(() => transport.readFeatures());
        attempt(() => transport.routeInterrupts([{ index: 0, wanted: true }]));
        attempt(() =>
          transport.enableQueue(0, { size: 8, desc: 0x5000, driver: 0x5080, device: 0x6000 })
        );
        attempt(() => {
          transport.enableQueue(0, { size: 8, desc: 0x5000, driver: 0x5080, device: 0x6000 });
          transport.startQueues();
          transport.notify(0, -1);
        });
        attempt(() => transport.readConfig(0, 4));
        attempt(() => transport.readConfig(0xffc, 4));
        attempt(() => void transport.takeInterruptCause());
        for (let id = 0; id < 4; id++) transport.sharedMemory(id);
      });
      assertEquals(fn.leases, 0);
    }),
    { seed: 42, numRuns: 2000, endOnFailure: true },
  );
  assert(opened > 100, `only ${opened} were opened`);
});
