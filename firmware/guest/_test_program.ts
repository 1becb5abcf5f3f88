import { DevmemPlatform } from "@vireo/hal/devmem";
import { pciCapabilities } from "@vireo/hal/discover";

/** What guest_test.ts runs in the guest; its first argument says what to do. */
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
      return await pci();
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

/** Lists the virtio functions; modern ones answer in memory, legacy ones at a port. */
async function pci(): Promise<number> {
  await using platform = DevmemPlatform.open();
  const devices = platform.functions.filter(({ vendor }) => vendor === 0x1af4).map((node) => {
    const before = command(node.name);
    const lease = node.open();
    const { config, bars } = lease;
    config.write16(4, config.read16(4) | 3);
    const modern = pciCapabilities(config, 9).find(({ offset }) => config.read8(offset + 3) === 1);
    let seen: Record<string, number>;
    if (modern !== undefined) {
      const bar = lease.openBar(config.read8(modern.offset + 4));
      const at = config.read32(modern.offset + 8);
      bar.write8(at + 20, 0);
      bar.write8(at + 20, 3);
      seen = { status: bar.read8(at + 20), queues: bar.read16(at + 18) };
      bar.write8(at + 20, 0);
    } else {
      const ports = lease.openBar(0);
      ports.write8(18, 0);
      ports.write8(18, 3);
      ports.write16(14, 0);
      seen = { status: ports.read8(18), size: ports.read16(12) };
      ports.write8(18, 0);
    }
    const assigned = bars.every(({ address }) => address > 0);
    const inUse = command(node.name) !== before;
    lease[Symbol.dispose]();
    const restored = inUse && command(node.name) === before;
    return {
      name: node.name,
      id: node.device,
      assigned,
      restored,
      polled: lease.line?.polled,
      seen,
    };
  });
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
