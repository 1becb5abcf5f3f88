import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { Control } from "./_control.ts";

/** The commands to a device that answers when the test says. */
function rig() {
  const fake = new FakeDevice();
  const { device } = fake;
  const [queue] = device.findQueues([{ name: "control", callback: () => control.drain() }]);
  const control = new Control(queue!, new RequestQueue(queue!), device.dma, "virtio0", false);
  return { fake, control };
}

const GONE = new VireoError("DEVICE_STATE", "As the test wants");

Deno.test("net control: a command ends with the interrupt of its answer", async () => {
  const { fake, control } = rig();
  const set = control.setPairs(3);
  await turn();
  const [request] = fake.pending;
  assertEquals([...request!.readable], [4, 0, 3, 0]);
  request!.complete(0);
  request!.queue.interrupt();
  await set;
});

Deno.test("net control: commands end when the device fails, and give their memory back after its reset", async () => {
  const { fake, control } = rig();
  const ended = assertRejects(() => control.setPairs(3), VireoError, "As the test wants");
  await turn();
  control.failAll(GONE);
  await ended;
  assertEquals(fake.regions.size, 1);
  control.detachAll();
  assertEquals(fake.regions.size, 0);
});
