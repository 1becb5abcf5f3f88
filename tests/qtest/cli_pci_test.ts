// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PCI_BOARDS } from "../../firmware/boards/mod.ts";
import { call } from "../cli_helper.ts";

/** What `--json` says of a device. */
interface Device {
  readonly transport: string;
  readonly interrupts: { readonly policy: string; readonly refused: readonly string[] };
  readonly pci: {
    readonly address: string;
    readonly ids: string;
    readonly bars: readonly string[];
    readonly capabilities: readonly string[];
    readonly chosen: string;
    readonly why: string;
  };
}

/** A disk in the place of the demo's, whose 32 MiB two sides hash: which interface it has is the question here. */
async function withDisk(body: (disk: string) => Promise<void>): Promise<void> {
  const disk = await Deno.makeTempFile({ prefix: "vireo-cli-pci-", suffix: ".img" });
  try {
    await Deno.writeFile(disk, crypto.getRandomValues(new Uint8Array(65536)));
    await body(disk);
  } finally {
    await Deno.remove(disk);
  }
}

async function demo(args: string, disk: string): Promise<readonly Device[]> {
  const run = await call(`demo --json --blk ${disk} --target ${args}`);
  assertEquals([args, run.code, run.err], [args, 0, ""]);
  const { ok, board } = JSON.parse(run.out);
  assertEquals([ok, board.devices.length], [true, 4]);
  return board.devices;
}

const FACES = [
  ["", "pci-modern"],
  [" --legacy", "pci-legacy"],
  [" --transitional", "pci-modern"],
  [" --transitional --force-legacy", "pci-legacy"],
] as const;

Deno.test("demo passes on the emulator's devices on PCI, each interface and ring", async () => {
  const rings = [
    [" --packed", "pci-modern"],
    [" --transitional --packed --in-order --notification-data", "pci-modern"],
    [" --in-order --no-indirect --no-event-idx --platform-iommu", "pci-modern"],
  ] as const;
  await withDisk(async (disk) => {
    for (const [flags, kind] of [...FACES, ...rings]) {
      for (const { transport, pci } of await demo(`emu --transport pci${flags}`, disk)) {
        assertEquals([transport, `pci-${pci.chosen}`], [kind, kind]);
      }
    }
  });
  const run = await call("probe --transport pci --legacy --with input");
  assertEquals([run.code, run.out], [2, ""]);
  assertStringIncludes(run.err, "device 18 (--with input) has no legacy interface on PCI");
});

for (const board of PCI_BOARDS) {
  Deno.test(`demo passes on QEMU's devices on PCI: ${board.name}, each interface`, async () => {
    await withDisk(async (disk) => {
      for (const [flags, kind] of FACES) {
        for (const { transport, pci } of await demo(`qtest:${board.name}${flags}`, disk)) {
          assertEquals([transport, `pci-${pci.chosen}`], [kind, kind]);
        }
      }
    });
  });
}

Deno.test("probe reports a function's address, structures and registers, and why it was chosen", async () => {
  const run = await call("probe --json --target qtest:x86_64-q35 --transitional");
  const devices: Device[] = JSON.parse(run.out).devices;
  assertEquals(devices.map(({ pci }) => [pci.address, pci.ids]), [
    ["0000:00:01.0", "1af4:1000"],
    ["0000:00:02.0", "1af4:1001"],
    ["0000:00:03.0", "1af4:1003"],
    ["0000:00:04.0", "1af4:1005"],
  ]);
  for (const { pci, interrupts } of devices) {
    assertEquals(pci.bars.map((bar) => bar.split(" ", 2)), [
      ["BAR0", "io"],
      ["BAR1", "memory"],
      ["BAR4", "memory"],
    ]);
    const types = pci.capabilities.map((text) => text.split(" ")[0]).sort();
    assertEquals(types, ["COMMON", "DEVICE", "ISR", "NOTIFY", "PCI"]);
    assertMatch(pci.why, /COMMON/);
    assertMatch(interrupts.policy, /^msix/);
  }
  const text = (await call("probe --target qtest:riscv64-virt-pci --legacy")).out;
  assertStringIncludes(text, "interrupts  msix-per-queue\n");
  assert(/ pci +1af4:1005 revision 0, 2 MSI-X vectors, legacy: /.test(text), text);
});
