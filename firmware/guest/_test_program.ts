import { DevmemPlatform } from "@vireo/hal/devmem";

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

async function write(bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
}

function fail(): never {
  throw new Error("thrown in the guest");
}
