// What the four texts of docs/tracing.md show: the same ping, read and line on several targets, guests among them.
import type { Vireo } from "@vireo/firmware";
import { ping } from "@vireo/firmware/ip";
import { traceLine } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";

/** The title of the guest's text. */
export const GUEST = "--target qemu:aarch64-virt";
/** Length of an answer to wait for, in milliseconds: a guest may have a small part of a busy machine. */
const SOON = { deadline: 20_000 };

/** Pings, reads 4 KiB, and has a line sent back. */
export async function useThree(vireo: Vireo): Promise<void> {
  await ping(vireo.net, { source: "10.0.2.15", target: "10.0.2.2", count: 1, ...SOON });
  await vireo.blk.read(0, 4096, SOON);
  using port = (await vireo.console.port("echo", SOON)).open();
  await port.hostOpened(SOON);
  await port.writeText("hello\n", SOON);
  await port.read(SOON);
}

/** A sink that keeps lines of events. */
export function keepLines(lines: string[]): (event: TraceEvent) => void {
  return (event) => void lines.push(traceLine(event));
}

/** A line without what differs from run to run, and between targets: times, the device's number, tokens, addresses. */
export function shape(line: string): string {
  return line.replace(/^\S+ virtio\d /, "").replaceAll(/0x[0-9a-f]+/g, "AT")
    .replace(/(add|used) \d+/, "$1 TOKEN").replace(/after [\d.]+ ms/, "after T");
}

/** The texts of the page by their titles, line by line in their shape. */
export async function documented(): Promise<Record<string, string[]>> {
  const page = await Deno.readTextFile(new URL("../../docs/tracing.md", import.meta.url));
  const sections = page.matchAll(/^### `(.*)`\n\n```text\n([^`]*)\n```$/gm);
  return Object.fromEntries(
    [...sections].map(([, title, text]) => [title!, text!.split("\n").map(shape)]),
  );
}
