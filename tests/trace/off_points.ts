// The points of traces, recordings and inspections in the code, and the code without them: `off_cost.ts` measures both.

const INSPECT = /\n {2}\/\*\* Shows the ring as it is now[^]*?\n {2}}\n/;

/** The points on the paths that are measured; each must be there, so that this list follows the code. */
export const POINTS: Readonly<Record<string, readonly (readonly [RegExp, string])[]>> = {
  "drivers/bus/_bus_device.ts": [
    [/ \(this\.#host\.tracer\?\.window\([^]*?\?\? window\)/, " window"],
    [/host\.tracer\?\.transport\(transport, this\.name\) \?\? transport/, "transport"],
    [
      / {2}#makeRing\([^]*?(?= {2}#notify\()/,
      "  #makeRing(options: RingRequest): Ring {\n    return createRing(options);\n  }\n\n",
    ],
  ],
  "drivers/bus/bus.ts": [
    [/ {4}const { tracer } = this\.#host;\n/, ""],
    [/tracer\?\.dma\(platform\.dma\) \?\? platform\.dma/, "platform.dma"],
    [/tracer\?\.node\(node\) \?\? node/, "node"],
  ],
  "drivers/blk/_queue.ts": [[/slots\.copied\(length\);\n/g, ""]],
  "drivers/net/tx_queue.ts": [[/this\.#region\.copied\?\.\(frame\.length\);\n/, ""]],
  "drivers/virtqueue/fill_pool.ts": [[/this\.#region\.copied\?\.\(used\);\n/, ""]],
  "drivers/virtqueue/split.ts": [[INSPECT, ""], [/import { inspectSplit } from .*\n/, ""]],
  "drivers/virtqueue/packed.ts": [[INSPECT, ""], [/import { inspectPacked } from .*\n/, ""]],
};

/**
 * The text of a file without its points.
 *
 * @throws {Error} If one is not there any more.
 */
export function withoutPoints(file: string, text: string): string {
  for (const [point, without] of POINTS[file] ?? []) {
    const stripped = text.replace(point, without);
    if (stripped === text) throw new Error(`Cannot strip ${file}: it must have ${point}`);
    text = stripped;
  }
  return text;
}
