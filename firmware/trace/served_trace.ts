import { BufferWords, type Tracer } from "@vireo/drivers/trace";
import type { DeviceModel, DeviceTrace, TracedBuffer } from "@vireo/emu/core";

/**
 * Makes the trace of a served device, whose events a tracer gets under the model's name. Its requests are worded as those
 * of a driver's trace.
 *
 * @param tracer Takes the events.
 * @param model The device.
 *
 * @example
 * ```ts
 * import { Tracer } from "@vireo/drivers/trace";
 * import { seededRandom } from "@vireo/emu/backends";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { servedTrace, traceText } from "@vireo/firmware/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const lines: string[] = [];
 * const tracer = new Tracer((event) => lines.push(`${event.device} ${traceText(event)}`));
 * // An option of VhostUserServer.
 * const trace = servedTrace(tracer, new RngDevice({ random: seededRandom(1) }));
 * trace.emit({ kind: "notified", queue: 0, name: "requestq", ignored: undefined });
 * assertEquals(lines, ["rng 'requestq' notified by the driver"]);
 * ```
 */
export function servedTrace(tracer: Tracer, { name, deviceId }: DeviceModel): DeviceTrace {
  tracer.learn(name, { name, deviceId });
  // Each start of a queue has a finder of its own, and what lies in several buffers ends with it.
  const words = new WeakMap<TracedBuffer["find"], BufferWords>();
  const wordsOf = ({ find }: TracedBuffer): BufferWords => {
    let known = words.get(find);
    if (known === undefined) words.set(find, known = new BufferWords({ data: tracer.data, find }));
    return known;
  };
  return {
    get time(): number {
      return tracer.time;
    },
    emit: (detail, time) => tracer.emit(name, detail, time),
    asked: (buffer) => wordsOf(buffer).asked({ deviceId, ...buffer }, buffer.elements),
    answered: (buffer, request, length) =>
      wordsOf(buffer).answered({ deviceId, ...buffer }, buffer.elements, request, length),
  };
}
