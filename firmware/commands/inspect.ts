import type { InspectedBuffer } from "@vireo/drivers/core";
import { hex } from "@vireo/hal";
import type { DeviceInspection, QueueInspection } from "../inspect/inspect_board.ts";
import { openVireo } from "../session.ts";
import type { BoardOptions } from "../target/options.ts";
import { rowsOfText } from "../terminal/rows.ts";
import type { JsonFlag } from "./command.ts";

/** `vireo inspect`: what is in the rings of a board once its drivers have set it up. */
export async function inspect(board: BoardOptions, { json }: JsonFlag): Promise<void> {
  await using vireo = await openVireo(board);
  const devices = await vireo.inspect();
  console.log(json ? JSON.stringify(devices, null, 2) : inspectionLines(devices).join("\n"));
}

/** Most buffers of a queue that are shown one by one. */
const MOST = 16;

/** An inspection as text. */
export function inspectionLines(devices: readonly DeviceInspection[]): string[] {
  return devices.flatMap(({ name, type, queues }) => [
    `${name} ${type}${queues.length === 0 ? ": no queues" : ""}`,
    ...queues.flatMap((queue) => queueLines(queue).map((line) => `  ${line}`)),
  ]);
}

function queueLines(queue: QueueInspection): string[] {
  const { name, format, addresses, free, inFlight, shadow, memory, events, buffers } = queue;
  const { size, desc, driver, device } = addresses;
  const areas = `descriptors ${hex(desc)}, driver area ${hex(driver)}, device area ${hex(device)}`;
  const lines = [
    `queue ${queue.queue} '${name}': ${format}, ${size} descriptors; ${areas}`,
    `  ${inFlight} in flight, ${free} free`,
    `  driver: added ${shadow.added}, kicked ${shadow.kicked}, taken ${shadow.taken}`,
  ];
  if (format === "split") {
    lines.push(`  memory: available index ${memory.available}, used index ${memory.used}`);
  }
  lines.push(`  interrupt wanted ${events.interrupt}; kick wanted ${events.kick}`);
  for (const { id, length } of memory.entries) {
    lines.push(`  used and not taken: buffer ${id}, ${length} bytes`);
  }
  if (queue.broken !== null) lines.push(`! broken: ${queue.broken}`);
  for (const wrong of queue.wrong) lines.push(`! ${wrong}`);
  if (buffers.length > 0) {
    const cells = [["buffer", "token", "state", "slot", "address", "length", "flags"]];
    for (const buffer of buffers.slice(0, MOST)) cells.push(...bufferCells(buffer));
    lines.push(...rowsOfText(cells).map((line) => `  ${line}`));
    if (buffers.length > MOST) lines.push(`  and ${buffers.length - MOST} more`);
  }
  return [...lines, ...qemuLines(queue)];
}

function bufferCells({ id, token, state, indirect, descriptors }: InspectedBuffer): string[][] {
  const head = [`${id}`, `${token}`, state];
  if (descriptors.length === 0) return [[...head, "", "", "", ""]];
  return descriptors.map(({ slot, address, length, flags }, i) => [
    ...(i === 0 ? head : ["", "", ""]),
    indirect ? `table ${slot}` : `${slot}`,
    hex(address),
    `${length}`,
    flags.join("|"),
  ]);
}

function qemuLines({ qemu, differences }: QueueInspection): string[] {
  if (qemu === null) return [];
  const { used, taken, inUse, availableSeen, next } = qemu;
  const seen =
    `available index seen ${availableSeen}, taken ${taken}, ${inUse} in use, used index ${used}`;
  const parts = next?.descriptors.map(({ address, length }) => `${hex(address)}+${length}`);
  return [
    `  QEMU: ${seen}${parts === undefined ? "" : `; next ${next!.index} [${parts.join(", ")}]`}`,
    ...differences.map((difference) => `! ${difference}`),
  ];
}
