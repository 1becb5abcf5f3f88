import type { LogEntry } from "./raw/log.ts";
import type { CheckResult } from "./run_checks.ts";

/** Accesses that a script repeats; what comes before the last reset matters little, so the end is kept. */
const MOST = 400;

/**
 * Writes what a check did as a script for `vireo run`, with the same accesses and the same bytes in memory. It
 * takes the device from its driver first.
 */
export function reproduction(result: CheckResult, target: string): string {
  const { check, device, seen, history } = result;
  const dropped = Math.max(0, history.length - MOST);
  const lines = history.slice(dropped).map(line);
  return [
    `// ${check.id} on ${device.name} (device ${device.id}): ${check.clauses.join(", ")}`,
    `// ${check.done}; expected: ${check.expected}`,
    `// ${seen ?? ""}`,
    `// vireo run --target ${target} repro.ts`,
    `import type { Vireo } from "@vireo/firmware";`,
    ``,
    `export default async function (vireo: Vireo): Promise<void> {`,
    `  const slot = ${JSON.stringify(device.name)};`,
    `  const bound = vireo.bus.devices.find(({ transport }) => transport.name === slot);`,
    `  if (bound !== undefined) await vireo.bus.removeDevice(bound);`,
    `  const node = vireo.platform.nodes().find(({ name }) => name === slot)!;`,
    `  using lease = node.open();`,
    `  using memory = vireo.platform.dma.alloc(0x200000, { align: 4096, coherent: true });`,
    `  const A = memory.address;`,
    `  const low = (at: number) => (A + at) % 2 ** 32;`,
    `  const high = (at: number) => Math.floor((A + at) / 2 ** 32);`,
    `  const page = (at: number) => (A + at) / 4096;`,
    `  const put = (at: number, hex: string) => memory.bytes.set(Uint8Array.fromHex(hex), at);`,
    `  const fill = (at: number, length: number, value: number) =>`,
    `    memory.bytes.fill(value, at, at + length);`,
    `  const pointer = (at: number, to: number) =>`,
    `    new DataView(memory.bytes.buffer, memory.bytes.byteOffset).setBigUint64(at, BigInt(A + to), true);`,
    `  const pause = () => new Promise((resolve) => setTimeout(resolve, 5));`,
    ...windows(result),
    ...dropped > 0 ? [`  // ${dropped} accesses before these are left out.`] : [],
    ...lines,
    `  await pause();`,
    `}`,
    ``,
  ].join("\n");
}

function windows({ device, history }: CheckResult): string[] {
  if (device.bus === "mmio") {
    return [
      `  if (!("mmio" in lease)) throw new TypeError("Cannot use a function as a slot");`,
      `  const mmio = lease.mmio;`,
    ];
  }
  if (device.bus === "vhost-user") {
    return [
      `  if (!("kick" in lease)) throw new TypeError("Cannot use registers as a socket");`,
      `  const offered = lease.readFeatures();`,
      `  const features = (...bits: number[]) => offered.minus(offered).with(...bits);`,
    ];
  }
  const names = new Set(
    history.flatMap((entry) => entry.op === "read" || entry.op === "write" ? [entry.window] : []),
  );
  return [
    `  if (!("bars" in lease)) throw new TypeError("Cannot use a slot as a function");`,
    `  const config = lease.config;`,
    `  config.write16(4, 7);`,
    ...[...names].filter((name) => name.startsWith("bar"))
      .map((name) => `  const ${name} = lease.openBar(${name.slice(3)});`),
  ];
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function line(entry: LogEntry): string {
  switch (entry.op) {
    case "read":
      return `  ${entry.window}.read${8 * entry.width}(${hex(entry.offset)}); // ${
        hex(entry.value)
      }`;
    case "write": {
      const { window, width, offset, value, place } = entry;
      const text = place === undefined ? hex(value) : `${place.part}(${hex(place.at)})`;
      return `  ${window}.write${8 * width}(${hex(offset)}, ${text});`;
    }
    case "pointer":
      return `  pointer(${hex(entry.at)}, ${hex(entry.to)});`;
    case "call":
      return `  lease.${entry.code};`;
    case "bytes": {
      const { at, bytes } = entry;
      const same = bytes.length > 8 && bytes.every((byte) => byte === bytes[0]);
      if (same) return `  fill(${hex(at)}, ${bytes.length}, ${hex(bytes[0]!)});`;
      return `  put(${hex(at)}, "${bytes.toHex()}");`;
    }
    case "note":
      return `  // ${entry.text}`;
  }
}
