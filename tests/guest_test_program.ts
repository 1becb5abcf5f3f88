import { DevmemPlatform } from "@vireo/hal/devmem";
import { sysfsDriver } from "@vireo/hal/discover";
import { guestModules } from "../firmware/target/own_machine.ts";
import { entropy, type Kind } from "./pci_test_driver.ts";

/** What tests/guest/boot_test.ts runs in the guest; its first argument says what to do. */
export default async function main(args: readonly string[]): Promise<number> {
  switch (args[0]) {
    case "throw":
      return fail();
    case "hang":
      await Deno.stdout.write(new TextEncoder().encode("hanging\n"));
      return await new Promise((resolve) => setTimeout(resolve, 1_000_000, 0));
    case "cat":
      for await (const chunk of Deno.stdin.readable) await write(chunk);
      return Deno.exit(7);
    case "pci":
      return await pci(args[1] as Kind, args[2] === "poll", args.slice(3));
    default:
      return await registers(args);
  }
}

async function registers(args: readonly string[]): Promise<number> {
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
  await write(new TextEncoder().encode(JSON.stringify({ args, devices, dma })));
  Deno.stderr.writeSync(new TextEncoder().encode("to stderr\n"));
  return 3;
}

/** Entropy from each virtio-rng on PCI, twice: by INTx where it is to be had, else by polling. */
async function pci(kind: Kind, poll: boolean, drivers: readonly string[]): Promise<number> {
  await using platform = DevmemPlatform.open({
    modules: [...drivers, ...guestModules()],
    unbind: true,
    ...(poll ? { poll: {} } : {}),
  });
  const devices: unknown[] = [];
  for (const node of platform.functions.filter(({ vendor }) => vendor === 0x1af4)) {
    const before = command(node.name);
    const lease = node.open();
    const assigned = lease.bars.every(({ address }) => address > 0);
    const first = await entropy(platform.dma, lease, { kind, msix: false });
    const second = await entropy(platform.dma, lease, { kind, msix: false });
    const changed = command(node.name) !== before && first.toHex() !== second.toHex();
    lease[Symbol.dispose]();
    const restored = changed && command(node.name) === before;
    devices.push({
      name: node.name,
      id: node.device,
      assigned,
      restored,
      polled: lease.line?.polled,
      driver: sysfsDriver(`/sys/bus/pci/devices/${node.name}`) ?? null,
    });
  }
  await write(new TextEncoder().encode(JSON.stringify(devices)));
  return 0;
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
