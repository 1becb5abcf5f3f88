// Needs QEMU and the guest images: the four drivers in guests, on every transport, with each ring and each
// way of waiting.
import { assert, assertEquals } from "@std/assert";
import type { MatrixFinding } from "../matrix_script.ts";
import { vireo } from "../cli_helper.ts";
import { matrixName } from "../driver_checks.ts";

const SCRIPT = new URL("../matrix_script.ts", import.meta.url).pathname;
const DISK = 8 << 20;

/** How Linux gives a board's devices to the guest's drivers. */
interface Boot {
  readonly transport: string;
  readonly kind: string;
  /** Flags, and what the script is told. */
  readonly flags: string;
  readonly args: string;
}

const MMIO: readonly Boot[] = [
  { transport: "mmio v1", kind: "mmio-1", flags: "--legacy", args: "- -" },
  { transport: "mmio v2", kind: "mmio-2", flags: "--packed", args: "- packed" },
];
const PCI: readonly Boot[] = [
  { transport: "pci legacy", kind: "pci-legacy", flags: "--legacy", args: "- -" },
  {
    transport: "pci transitional",
    kind: "pci-modern",
    flags: "--transitional --packed",
    args: "- packed",
  },
  {
    transport: "pci transitional, force_legacy",
    kind: "pci-legacy",
    flags: "--transitional",
    args: "forceLegacy -",
  },
  { transport: "pci modern", kind: "pci-modern", flags: "--packed", args: "- packed" },
];
const ARCHES = [
  { name: "guest x86_64", mmio: "x86_64-microvm", pci: "x86_64-q35" },
  { name: "guest aarch64", mmio: "aarch64-virt", pci: "aarch64-virt-pci" },
] as const;

async function findings(board: string, { flags, args }: Boot): Promise<MatrixFinding[]> {
  const disk = await Deno.makeTempFile({ prefix: "vireo-matrix-" });
  try {
    await Deno.truncate(disk, DISK);
    const run = await vireo(`run --target qemu:${board} ${flags} --blk ${disk} ${SCRIPT} ${args}`);
    assertEquals([run.code, run.err], [0, ""]);
    return JSON.parse(run.out);
  } finally {
    await Deno.remove(disk);
  }
}

for (const [bus, boots] of [["mmio", MMIO], ["pci", PCI]] as const) {
  for (const boot of boots) {
    Deno.test(`drivers in guests on ${boot.transport}`, async (t) => {
      const all = await Promise.allSettled(ARCHES.map((arch) => findings(arch[bus], boot)));
      for (const [i, { name }] of ARCHES.entries()) {
        const found = all[i]!;
        if (found.status === "rejected") throw found.reason;
        const rings = boot.args.endsWith("packed") ? 2 : 1;
        assertEquals(found.value.length, 2 * rings);
        for (const { packed, poll, transports, policies, ...rest } of found.value) {
          // Linux gives programs no interrupt of a virtio-mmio slot: its driver polls there in any case.
          const way = poll ? "poll" : "INTx";
          const policy = bus === "mmio" || poll ? "poll" : "line";
          const row = bus === "mmio" && !poll
            ? `matrix none: ${name} | ${boot.transport} | interrupt`
            : matrixName(name, boot.transport, packed ? "packed" : "split", way);
          await t.step(row, () => {
            assertEquals([transports, policies], [[boot.kind], [policy]]);
            const { entropy, ...checks } = rest;
            assertEquals(checks, { rings: [packed], blk: [true, true], replies: 3, echo: true });
            // 10000 random bytes miss a value with a chance of 10^-14.
            assert(entropy === 256, `${entropy} values`);
          });
        }
      }
    });
  }
}
