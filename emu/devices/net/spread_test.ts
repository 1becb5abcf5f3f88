import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Feature, FeatureSet, NetFeature } from "@vireo/hal";
import { Hub } from "../../backends/hub.ts";
import { NO_OFFLOAD } from "../../backends/net_backend.ts";
import { NetDevice } from "./device.ts";
import { FakeChain, FakeContext } from "./fake_ring_test.ts";

Deno.test("net device: any frames into any mergeable buffers come out whole, in order", () => {
  const lengths = fc.array(fc.integer({ min: 14, max: 3000 }), { minLength: 1, maxLength: 8 });
  const sizes = fc.array(fc.integer({ min: 12, max: 900 }), { minLength: 40, maxLength: 80 });
  let delivered = 0;
  const property = fc.property(lengths, sizes, fc.boolean(), (frames, buffers, late) => {
    using device = new NetDevice({ backend: new Hub().port(), backlog: 8 });
    const features = FeatureSet.of(Feature.VERSION_1, NetFeature.MRG_RXBUF);
    const context = new FakeContext(features, 3);
    device.activate(context);
    const queue = context.queues.get(0)!;
    const memory = buffers.map((size) => new Uint8Array(size));
    const post = (): void => {
      memory.forEach((bytes, head) => queue.available.push(new FakeChain(head, [], [bytes])));
    };
    const sent = frames.map((length, i) => Uint8Array.from({ length }, (_, at) => at * 3 + i));
    // Late buffers send the frames through the backlog.
    if (!late) post();
    for (const frame of sent) device.receive(frame, 0, frame.length, NO_OFFLOAD);
    if (late) {
      post();
      device.notify(0);
    }
    let at = 0;
    let i = 0;
    for (; at < queue.used.length; i++) {
      const first = memory[queue.used[at]!.head]!;
      const count = first[10]! | (first[11]! << 8);
      const bytes: number[] = [];
      for (let part = 0; part < count; part++, at++) {
        const { head, written } = queue.used[at]!;
        if (part < count - 1) assertEquals(written, memory[head]!.length, "filled in full");
        bytes.push(...memory[head]!.subarray(0, written));
      }
      assertEquals(bytes.slice(12), [...sent[i]!], `frame ${i}`);
    }
    assertEquals(i, device.stats.rxFrames);
    delivered += device.stats.rxFrames;
    assertEquals(context.faults, []);
  });
  fc.assert(property, { seed: 42, numRuns: 200 });
  assert(delivered > 500, `only ${delivered} frames were delivered`);
});
