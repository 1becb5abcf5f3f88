import { PciCommand } from "@vireo/hal";
import { DevmemPlatform } from "@vireo/hal/devmem";
import { sysfsDriver } from "@vireo/hal/discover";
import { guestModules } from "../../firmware/target/own_machine.ts";
import { entropy, type Kind } from "../qtest/pci_test_driver.ts";

/** A kind of functions on PCI that the guest drives, and how. */
export interface PciPhase {
  readonly kind: Kind;
  readonly poll: boolean;
  /** Names of the functions. */
  readonly functions: readonly string[];
  /** Modules of Linux to load before, by path in the guest. */
  readonly modules: readonly string[];
}

/** How the program ends, after it has reported what it sees of the devices. */
export type Ending = "throws" | "hangs" | "copies its input and exits with 7";

/**
 * The program of tests/guest/boot_test.ts in the guest: does much in each boot, as booting is slow. Arguments:
 * how to end, the phases on PCI as JSON, and others that are printed only.
 */
export default async function main(args: readonly string[]): Promise<number> {
  const [ending, phases = "[]"] = args;
  await registers(args);
  for (const phase of JSON.parse(phases) as PciPhase[]) await pci(phase);
  switch (ending as Ending) {
    case "throws":
      return fail();
    case "hangs":
      return await new Promise((resolve) => setTimeout(resolve, 1_000_000, 0));
    case "copies its input and exits with 7":
      for await (const chunk of Deno.stdin.readable) await write(chunk);
      return Deno.exit(7);
  }
}

async function registers(args: readonly string[]): Promise<void> {
  await using platform = DevmemPlatform.open();
  const devices = platform.slots.map((node) => {
    using lease = node.open();
    const [magic, version, id] = [0, 4, 8].map((offset) => lease.mmio.read32(offset));
    return { magic, version, id };
  }).filter(({ id }) => id !== 0);
  using region = platform.dma.alloc(5000, { align: 4096 });
  const dma = {
    aligned: region.address > 0 && region.address % 4096 === 0,
    zeroed: region.bytes.every((byte) => byte === 0),
  };
  Deno.stderr.writeSync(new TextEncoder().encode("to stderr\n"));
  await write(new TextEncoder().encode(`${JSON.stringify({ args, devices, dma })}\n`));
}

/** Entropy from each of a phase's functions, twice: by INTx where there is one, else by polling. */
async function pci({ kind, poll, functions, modules }: PciPhase): Promise<void> {
  // Debian 13's kernel has them built in.
  const builtIn = sysfsHasDriver("virtio-pci");
  await using platform = DevmemPlatform.open({
    modules: [...builtIn ? [] : modules, ...guestModules()],
    unbind: true,
    ...(poll ? { poll: {} } : {}),
  });
  const devices: unknown[] = [];
  for (const node of platform.functions.filter(({ name }) => functions.includes(name))) {
    const before = command(node.name);
    const lease = node.open();
    const assigned = lease.bars.every(({ address }) => address > 0);
    const first = await entropy(platform.dma, lease, { kind, msix: false });
    const second = await entropy(platform.dma, lease, { kind, msix: false });
    // A built-in driver of Linux's may have left bus mastering on: then there is nothing to change.
    const driven = (command(node.name) & PciCommand.BUS_MASTER) !== 0 &&
      first.toHex() !== second.toHex();
    lease[Symbol.dispose]();
    const restored = driven && command(node.name) === before;
    devices.push({
      name: node.name,
      id: node.device,
      assigned,
      restored,
      polled: lease.line?.polled,
      driver: sysfsDriver(`/sys/bus/pci/devices/${node.name}`) ?? null,
    });
  }
  await write(new TextEncoder().encode(`${JSON.stringify({ builtIn, devices })}\n`));
}

/** Whether the guest's Linux has a driver of this name for PCI. */
function sysfsHasDriver(name: string): boolean {
  return [...Deno.readDirSync("/sys/bus/pci/drivers")].some((entry) => entry.name === name);
}

function command(name: string): number {
  const config = Deno.readFileSync(`/sys/bus/pci/devices/${name}/config`);
  return config[4]! | config[5]! << 8;
}

async function write(bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
}

function fail(): never {
  throw new Error("thrown in the guest");
}
