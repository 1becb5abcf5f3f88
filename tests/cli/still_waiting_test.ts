import { assertEquals } from "@std/assert";
import { waitFor } from "@vireo/drivers";
import { StillWaiting } from "../../firmware/terminal/still_waiting.ts";
import { OnTerminal } from "../cli_helper.ts";

Deno.test("run on a terminal says what a script waits for, and that kick() is missing", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      `import { SgList, type VirtioDevice } from "@vireo/drivers/core";
import { rngDriver } from "@vireo/drivers/rng";
import type { Vireo } from "@vireo/firmware";
import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";

export default async function main({ bus }: Vireo) {
  await bus.unregisterDriver(rngDriver);
  await bus.registerDriver({
    name: "forgetful",
    ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
    features: FeatureSet.NONE,
    probe(device: VirtioDevice) {
      const [queue] = device.findQueues([{ name: "input", callback() {} }]);
      queue!.add(new SgList(1).addWritable(device.dma.alloc(64).address, 64), 0);
      return { remove: () => device.reset().then(() => device.deleteQueues()) };
    },
  });
  setInterval(() => {}, 1000);
  await new Promise(() => {});
}`,
    );
    await using screen = new OnTerminal(`run ${script}`);
    await screen.seen(
      "vireo: still waiting for the device to use a buffer of queue 'input' " +
        "(5 s, but the driver did not kick the queue); Ctrl-C to stop",
    );
    await screen.type("\x03");
    assertEquals(await screen.end(), 130);
  } finally {
    await Deno.remove(script);
  }
});

Deno.test("a wait is reported after 5 s, then whenever its time doubled, unless it ends", async () => {
  const said: string[] = [];
  let now = performance.now();
  let popped = 0;
  let inFlight = 1;
  const device = { name: "virtio0" } as never;
  const outstanding = () =>
    inFlight === 0 ? [] : [{
      device,
      queue: "req.0",
      inFlight,
      kicked: true,
      popped,
    }];
  using waiting = new StillWaiting({
    say: (line) => said.push(line),
    buses: [{ outstanding, progress: () => 0 }],
    now: () => now,
  });
  const pass = (seconds: number): string[] => {
    for (const end = now + seconds * 1000; now < end;) {
      now += 500;
      waiting.look();
    }
    return said.splice(0);
  };
  const line = (seconds: number): string =>
    `still waiting for the device to use a buffer of queue 'req.0' (${seconds} s); Ctrl-C to stop`;
  assertEquals(pass(5), []);
  assertEquals(pass(30), [line(5), line(10), line(20)]);
  // It went on: the time begins again.
  popped++;
  assertEquals(pass(5), []);
  assertEquals(pass(1), [line(5)]);
  inFlight = 0;
  assertEquals(pass(60), []);
  const stop = new AbortController();
  const subject = { what: "a frame" };
  const wait = waitFor(subject, { signal: stop.signal }, () => {}).catch((error) => error);
  now = performance.now();
  assertEquals(pass(6), ["still waiting for a frame (5 s); Ctrl-C to stop"]);
  stop.abort("over");
  assertEquals(await wait, "over");
  assertEquals(pass(60), []);
});

Deno.test("a program that goes on without a device is reported, unless a driver gets buffers back", () => {
  const said: string[] = [];
  let now = performance.now();
  let progress = 4;
  const bus = { outstanding: () => [], progress: () => progress };
  const buses: typeof bus[] = [];
  using waiting = new StillWaiting({
    say: (line) => said.push(line),
    buses,
    idle: true,
    now: () => now,
  });
  const pass = (seconds: number): string[] => {
    for (const end = now + seconds * 1000; now < end;) {
      now += 500;
      waiting.look();
    }
    return said.splice(0);
  };
  const line = (seconds: number): string =>
    `still running (${seconds} s), but no device holds a request of its driver; Ctrl-C to stop`;
  // No board is open yet.
  assertEquals(pass(10), []);
  buses.push(bus);
  assertEquals(pass(5), []);
  assertEquals(pass(20), [line(5), line(10), line(20)]);
  progress++;
  assertEquals(pass(5), []);
  assertEquals(pass(1), [line(5)]);
});
