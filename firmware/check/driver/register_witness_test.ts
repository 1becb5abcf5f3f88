import { assertEquals } from "@std/assert";
import { BlkDevice, EmulatedMachine, MemoryDisk, RngDevice, seededRandom } from "@vireo/emu";
import { Findings } from "./findings.ts";
import { RegisterWitness } from "./register_witness.ts";
import { RingWitness } from "./ring_witness.ts";
import type { Occasion } from "./rules.ts";
import type { Temper } from "./schedules.ts";

/** A witness of a device, and what the driver broke. */
function rig(machine: EmulatedMachine, temper: Temper = {}) {
  const findings = new Findings();
  const hosted = () => machine.device(0);
  const witness = new RegisterWitness({
    hosted,
    bus: "mmio",
    rings: new RingWitness(hosted, () => machine.memory, findings),
    findings,
    temper,
    step() {},
    reset() {},
  });
  return { witness, findings };
}

const RULE = "interrupt.acknowledge";

for (
  const [what, reopens, broken] of [["", false, true], [
    ", but not its next one",
    true,
    false,
  ]] as const
) {
  Deno.test(`register witness: an interrupt that a driver did not acknowledge counts at its end${what}`, async () => {
    await using machine = EmulatedMachine.create({
      devices: [new RngDevice({ random: seededRandom(1) })],
    });
    const { witness, findings } = rig(machine);
    witness.opened();
    witness.read({ name: "InterruptStatus", offset: 0x60, width: 4 }, 1);
    if (reopens) witness.opened();
    witness.end();
    assertEquals(findings.broken.some(({ rule }) => rule.id === RULE), broken);
  });
}

/** What a driver does: it reads a register that has a value, or writes one. */
type Step = readonly ["read" | "write", register: string, value: number];

const read = (register: string, value = 0): Step => ["read", register, value];
const write = (register: string, value: number): Step => ["write", register, value];
const IDENTITY = [read("MagicValue", 0x74726976), read("Version", 2), read("DeviceID", 2)];
const CAPACITY = [read("config+0"), read("config+4")];
const generation = (value: number): Step => read("ConfigGeneration", value);

/** Opens a slot, looks at its identity, and does something with it that the device does not hear of. */
function drive(witness: RegisterWitness, steps: readonly Step[]): void {
  witness.opened();
  for (const [op, name, value] of [...IDENTITY, ...steps]) {
    const access = { name, offset: 0, width: 4 } as const;
    if (op === "read") witness.read(access, value);
    else witness.write(access, value, () => {});
  }
}

/** What a driver of a disk does after it looked at its identity, and which rules that breaks. */
const DRIVERS:
  readonly (readonly [what: string, steps: readonly Step[], broken: readonly string[]])[] = [
    ["reads the capacity between two equal generations", [
      ...[generation(1), ...CAPACITY, generation(1), write("Status", 0)],
    ], []],
    ["reads the capacity without a generation before", [
      ...[...CAPACITY, generation(1), write("Status", 0)],
    ], ["config.atomic"]],
    ["reads the capacity without a generation after", [
      ...[generation(1), ...CAPACITY, write("Status", 0)],
    ], ["config.atomic"]],
    ["leaves a capacity that changed while it was read", [
      ...[generation(1), ...CAPACITY, generation(2), write("Status", 0)],
    ], ["config.atomic"]],
    ["reads a capacity that changed once more", [
      ...[
        generation(1),
        ...CAPACITY,
        generation(2),
        ...CAPACITY,
        generation(2),
        write("Status", 0),
      ],
    ], []],
    ["reads a capacity that changed twice only once more", [
      ...[
        generation(1),
        ...CAPACITY,
        generation(2),
        ...CAPACITY,
        generation(3),
        write("Status", 0),
      ],
    ], ["config.atomic"]],
    ["begins to read a capacity that changed, and has enough of its half", [
      ...[generation(1), ...CAPACITY, generation(2), read("config+0"), write("Status", 0)],
    ], []],
    ["reads half a capacity", [read("config+4"), write("Status", 0)], []],
    ["reads fields that are not wide", [
      ...[read("config+8"), read("config+12"), write("Status", 0)],
    ], []],
    ["acknowledges what it read", [read("InterruptStatus", 3), write("InterruptACK", 3)], []],
    ["acknowledges more than it read", [
      ...[read("InterruptStatus", 1), write("InterruptACK", 3)],
    ], ["interrupt.read"]],
    ["acknowledges less than it read", [
      ...[read("InterruptStatus", 3), write("InterruptACK", 1)],
    ], ["interrupt.acknowledge"]],
    ["acknowledges twice what it read once", [
      ...[read("InterruptStatus", 1), write("InterruptACK", 1), write("InterruptACK", 1)],
    ], ["interrupt.read"]],
    ["waits for a queue to stop", [
      ...[write("QueueReady", 0), read("QueueReady"), read("Status", 0xf)],
    ], []],
    ["does not wait for a queue to stop", [
      ...[write("QueueReady", 0), read("Status", 0xf), read("Status", 0xf)],
    ], ["queue.stop"]],
    ["leaves half a capacity that changed since, with a generation before", [
      ...[generation(1), read("config+0"), generation(2), write("Status", 0)],
    ], []],
    ["has a changed capacity, and asks for the generation once more", [
      ...[generation(1), ...CAPACITY, generation(2), generation(2), write("Status", 0)],
    ], ["config.atomic"]],
    ["resets the device instead of acknowledging", [
      ...[read("InterruptStatus", 1), write("Status", 0)],
    ], []],
    ["starts a queue whose reset was not confirmed", [
      ...[write("QueueReset", 1), read("QueueReset", 1), write("QueueReady", 1)],
    ], ["queue.reset"]],
    ["starts a queue whose reset was confirmed", [
      ...[write("QueueReset", 1), read("QueueReset", 0), write("QueueReady", 1)],
    ], []],
    ["starts another queue than the one whose reset was confirmed", [
      ...[write("QueueReset", 1), write("QueueSel", 1), read("QueueReset", 0)],
      ...[write("QueueSel", 0), write("QueueReady", 1)],
    ], ["queue.reset"]],
    ["starts a queue whose reset the device's own reset ended", [
      ...[write("QueueReset", 1), write("Status", 0), read("Status"), write("QueueReady", 1)],
    ], []],
    ["writes to a queue that stops", [
      ...[write("QueueReady", 0), write("QueueReady", 0)],
    ], ["queue.stop"]],
  ];

for (const [what, steps, broken] of DRIVERS) {
  Deno.test(`register witness: a driver that ${what}`, async () => {
    await using machine = EmulatedMachine.create({
      devices: [new BlkDevice({ disk: new MemoryDisk(1 << 20) })],
    });
    const { witness, findings } = rig(machine);
    drive(witness, steps);
    witness.end();
    assertEquals(findings.broken.map(({ rule }) => rule.id), broken);
  });
}

/** What a driver does after it looked at a disk's identity, and the occasions that come with it. */
const OCCASIONS: readonly (readonly [steps: readonly Step[], occasions: readonly Occasion[]])[] = [
  [[], []],
  [[write("Status", 0)], ["init"]],
  [[write("Status", 0), read("Status"), write("Status", 128)], ["failed", "init"]],
  [[write("DeviceFeaturesSel", 0), read("DeviceFeatures")], ["features", "mmio-features"]],
  [[
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("DriverFeaturesSel", 0), write("DriverFeatures", 0)],
  ], ["features", "init", "mmio-features"]],
  [[
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    write("Status", 11),
  ], ["init", "modern-features"]],
  [[write("QueueReady", 1)], ["queue"]],
  [[write("QueueReady", 0), read("QueueReady")], ["queue", "queue-stop"]],
  [[write("QueueReset", 1)], ["queue-reset"]],
  [[write("QueueNotify", 0)], ["notify"]],
  [[read("InterruptStatus", 0)], []],
  [[read("InterruptStatus", 1), write("InterruptACK", 1)], ["interrupt"]],
  [[read("InterruptStatus", 2), write("Status", 0)], ["init", "interrupt"]],
  [[read("config+8")], ["config"]],
  [[read("config+4")], ["config", "wide-config"]],
];

for (const [steps, occasions] of OCCASIONS) {
  const words = steps.map(([op, name, value]) => `${op} ${name} ${value}`).join(", ");
  Deno.test(`register witness: the occasions of ${words || "an identity"}`, async () => {
    await using machine = EmulatedMachine.create({
      devices: [new BlkDevice({ disk: new MemoryDisk(1 << 20) })],
    });
    const { witness, findings } = rig(machine);
    drive(witness, steps);
    assertEquals([...findings.occasions].sort(), [...occasions, "mmio"].sort());
    assertEquals(findings.broken, []);
    const writes = steps.filter(([op]) => op === "write").length;
    assertEquals(witness.writes, writes);
  });
}

/** What a driver does to a device that does not hear of it, how that tempts it, and which rules that breaks. */
const TEMPTED: readonly (readonly [
  what: string,
  temper: Temper,
  steps: readonly Step[],
  broken: readonly string[],
])[] = [
  ["sees unknown bits and ends, and never reset the device", { unknownFeatures: true }, [
    ...[write("Status", 3), write("DeviceFeaturesSel", 1), read("DeviceFeatures")],
  ], ["init.reset", "init.one-by-one", "features.unknown-goes-on"]],
  ["sees unknown bits, and starts a device that does not", { unknownFeatures: true }, [
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("DeviceFeaturesSel", 1), read("DeviceFeatures"), write("Status", 7)],
  ], ["features.unknown-goes-on"]],
  ["sees the known word", { unknownFeatures: true }, [
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("DeviceFeaturesSel", 0), read("DeviceFeatures")],
  ], []],
  ["accepts unknown bits", { unknownFeatures: true }, [
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("DriverFeaturesSel", 1), write("DriverFeatures", 1 << 12)],
  ], ["features.unknown"]],
  ["does not say that it gives up, and never reset the device", { refuse: true }, [
    ...[write("Status", 1), write("Status", 3), write("Status", 11), read("Status")],
  ], ["init.reset", "init.say-failed"]],
  ["says that it gives up", { refuse: true }, [
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("Status", 11), read("Status"), write("Status", 139)],
  ], []],
  ["says once that it gives up two times", { refuse: true }, [
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("Status", 11), read("Status"), write("Status", 139)],
    ...[write("Status", 0), read("Status"), write("Status", 1), write("Status", 3)],
    ...[write("Status", 11), read("Status")],
  ], ["init.say-failed"]],
];

for (const [what, temper, steps, broken] of TEMPTED) {
  Deno.test(`register witness: a driver that ${what}`, async () => {
    await using machine = EmulatedMachine.create({
      devices: [new BlkDevice({ disk: new MemoryDisk(1 << 20) })],
    });
    const { witness, findings } = rig(machine, temper);
    drive(witness, steps);
    witness.end();
    assertEquals(findings.broken.map(({ rule }) => rule.id), broken);
  });
}
