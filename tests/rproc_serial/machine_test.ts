import { assertEquals, assertRejects } from "@std/assert";
import { DeviceId, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { EmulatedMachine, loopbackPort, RprocSerialDevice, streamPipe } from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import { consoleDriver } from "../../drivers/console/mod.ts";
import { rprocSerialDriver } from "../../drivers/rproc_serial/mod.ts";
import { bytesBy } from "../noise.ts";

const SOON = { deadline: 5000 };

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`rproc serial: bytes go both ways (version ${version} without [${without}])`, async () => {
      const model = new RprocSerialDevice(loopbackPort());
      await using machine = EmulatedMachine.create({ devices: [{ model, version }] });
      await using bus = new Bus({ filter: FeatureSet.of(...without) });
      // The console driver is not for it, though their queues are alike.
      await bus.registerDriver(consoleDriver);
      await bus.registerDriver(rprocSerialDriver);
      await bus.addPlatform(machine);
      const [device] = bus.devices;
      assertEquals([device!.deviceId, device!.driver], [DeviceId.RPROC_SERIAL, rprocSerialDriver]);
      assertEquals(bus.attributes(device!).modalias, "virtio:d0000000Bv45524956\n");
      const serial = bus.get(rprocSerialDriver)!;
      assertEquals([serial.multiport, serial.ports.length], [false, 1]);
      using port = (await serial.port(0, SOON)).open();
      assertEquals([port.isConsole, port.hostOpen], [false, true]);
      const data = bytesBy(200_000, (i) => i * 7 + (i >> 8));
      const sending = ReadableStream.from([data]).pipeTo(port.writable);
      let at = 0;
      for await (const bytes of port.readable) {
        assertEquals(bytes, data.subarray(at, at += bytes.length));
        if (at === data.length) break;
      }
      await sending;
      assertEquals(machine.violations(), []);
    });
  }
}

Deno.test("rproc serial: what comes while nobody listens is kept, as Linux does", async () => {
  const pipe = streamPipe();
  await using machine = EmulatedMachine.create({ devices: [new RprocSerialDevice(pipe.device)] });
  const bus = new Bus();
  await bus.registerDriver(rprocSerialDriver);
  await bus.addPlatform(machine);
  const writer = pipe.host.writable.getWriter();
  await writer.write(new TextEncoder().encode("early"));
  const port = (await bus.get(rprocSerialDriver)!.port(0, SOON)).open();
  assertEquals(new TextDecoder().decode((await port.read(SOON))!), "early");
  const reading = assertRejects(() => port.read(SOON), VireoError);
  await bus[Symbol.asyncDispose]();
  assertEquals((await reading).code, "PORT_CLOSED");
});
