import { assertEquals } from "@std/assert";
import { EmulatedMachine, RngDevice, seededRandom } from "@vireo/emu";
import { Findings } from "./findings.ts";
import { RegisterWitness } from "./register_witness.ts";
import { RingWitness } from "./ring_witness.ts";

/** A witness of a device, and what the driver broke. */
function rig(machine: EmulatedMachine) {
  const findings = new Findings();
  const hosted = () => machine.device(0);
  const witness = new RegisterWitness({
    hosted,
    bus: "mmio",
    rings: new RingWitness(hosted, () => machine.memory, findings),
    findings,
    temper: {},
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
