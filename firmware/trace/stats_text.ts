import type { DeviceStats, QueueStats } from "@vireo/drivers/trace";
import { counted } from "@vireo/hal";
import { rowsOfText } from "../terminal/rows.ts";

/** Counts as lines of text: a row a queue. */
export function statsLines(devices: readonly DeviceStats[]): string[] {
  const rows = [[
    "device",
    "queue",
    "buffers",
    "back",
    "kicks",
    "suppressed",
    "bytes to device",
    "from device",
    "median",
    "90%",
    "99%",
    "longest",
  ]];
  for (const { device, queues } of devices) {
    for (const queue of queues) {
      const { name, added, used, kicks, suppressed, read, written, latency } = queue;
      const times = [latency.p50, latency.p90, latency.p99, latency.max];
      rows.push([
        device,
        name,
        ...[added, used, kicks, suppressed, read, written].map(String),
        ...times.map((ms) => used === 0 ? "-" : `${ms.toFixed(3)} ms`),
      ]);
    }
  }
  return [
    ...rowsOfText(rows),
    ...devices.map(deviceLine),
  ];
}

function deviceLine(counts: DeviceStats): string {
  const { device, interrupts, withheld, reads, writes, errors, copied, queues } = counts;
  const parts = [
    counted(interrupts, "interrupt") + (withheld === 0 ? "" : ` and ${withheld} not sent`),
    // A device that is traced itself knows of neither.
    ...reads + writes + copied === 0 ? [] : [
      counted(reads, "register read"),
      counted(writes, "register write"),
      `${counted(copied, "byte")} copied${perRequest(copied, queues)}`,
    ],
    ...errors === 0 ? [] : [`${errors} violations and faults`],
  ];
  return `${device}: ${parts.join(", ")}`;
}

/** Bytes copied for each buffer that came back. */
function perRequest(copied: number, queues: readonly QueueStats[]): string {
  const used = queues.reduce((sum, queue) => sum + queue.used, 0);
  return used === 0 ? "" : ` (${Number((copied / used).toFixed(1))} a request)`;
}
