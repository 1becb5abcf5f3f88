import type { DeviceStats } from "@vireo/drivers/trace";
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
    ...devices.map(({ device, interrupts, reads, writes, errors }) =>
      `${device}: ${interrupts} interrupts, ${reads} register reads, ${writes} register writes` +
      (errors === 0 ? "" : `, ${errors} violations and faults`)
    ),
  ];
}
