import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Feature, VireoError } from "@vireo/hal";
import { RpmsgDevice, type RpmsgDeviceOptions, type RpmsgService } from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { type Rpmsg, rpmsgDriver } from "../../drivers/rpmsg/mod.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const ECHO: RpmsgService = {
  name: "rpmsg-client-sample",
  address: 0x400,
  handle: (_, bytes, reply) => reply(bytes),
};

type Rig = MachineRig<"rpmsg", RpmsgDevice, Rpmsg>;

function boot(
  options: Partial<RpmsgDeviceOptions> = {},
  version: 1 | 2 = 2,
  without: readonly number[] = [],
): Promise<Rig> {
  const model = new RpmsgDevice({ services: [ECHO], ...options });
  return bootMachine("rpmsg", model, rpmsgDriver, { version, without });
}

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`rpmsg: a service is found and answers, a thousand times (version ${version} without [${without}])`, async () => {
      await using rig = await boot({}, version, without);
      const channel = await rig.rpmsg.channel("rpmsg-client-sample", SOON);
      assertEquals(channel, { name: "rpmsg-client-sample", address: 0x400 });
      using endpoint = rig.rpmsg.endpoint({ remote: channel.address });
      assertEquals(endpoint.address, 1024);
      const sent = Array.from(
        { length: 1000 },
        (_, i) => text(`message ${i} ${"x".repeat(i % 480)}`),
      );
      const sending = Promise.all(sent.map((bytes) => endpoint.send(bytes, SOON)));
      for (const bytes of sent) {
        assertEquals(await endpoint.receive(SOON), { from: 0x400, bytes });
      }
      await sending;
      assertEquals(rig.rpmsg.counters, { malformed: 0, unknownAddress: 0, tooManyServices: 0 });
      assertEquals(rig.machine.violations(), []);
    });
  }
}

Deno.test("rpmsg: the bytes on the wire are those of Linux's headers", async () => {
  await using rig = await boot();
  const wire = [0x34, 0x12, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, ...text("hello")];
  const memory = rig.machine.memory.bytes;
  const { model } = rig;
  const notify = model.notify.bind(model);
  let at = -1;
  // The driver zeroes the memory when the device returns it, so look when the device does.
  model.notify = (queue) => {
    at = memory.findIndex((_, i) => wire.every((byte, j) => memory[i + j] === byte));
    notify(queue);
  };
  using endpoint = rig.rpmsg.endpoint({ local: 0x1234, remote: 0x400 });
  await endpoint.send(text("hello"), SOON);
  assert(at > 0, "src, dst, reserved, len, flags, data");
});

Deno.test("rpmsg: a slow reader makes the remote processor wait, and nothing is lost", async () => {
  await using rig = await boot({ queueSize: 16 });
  using endpoint = rig.rpmsg.endpoint();
  for (let i = 0; i < 500; i++) rig.model.send(0x400, endpoint.address, text(String(i)));
  for (let i = 0; i < 50; i++) await turn();
  // 64 wait at the endpoint and 16 in the ring.
  assertEquals(rig.model.waiting, 500 - 64 - 16);
  for (let i = 0; i < 500; i++) {
    assertEquals(words((await endpoint.receive(SOON)).bytes), String(i));
  }
  assertEquals(rig.model.waiting, 0);
});

Deno.test("rpmsg: our services are announced and taken back; so are theirs", async () => {
  await using rig = await boot();
  {
    using endpoint = rig.rpmsg.endpoint({ announce: "logger", local: 77 });
    await until(() => rig.model.announced.get("logger") === 77);
    rig.model.send(0x400, 77, text("line"));
    assertEquals(words((await endpoint.receive(SOON)).bytes), "line");
  }
  await until(() => rig.model.announced.size === 0);
  await rig.rpmsg.channel(ECHO.name, SOON);
  rig.model.withdraw(ECHO);
  await until(() => rig.rpmsg.channels.length === 0);
  const late = await assertRejects(() => rig.rpmsg.channel(ECHO.name, { deadline: 5 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
});

Deno.test("rpmsg: wrong use is refused at once", async () => {
  await using rig = await boot();
  using endpoint = rig.rpmsg.endpoint({ local: 2000 });
  assertThrows(() => rig.rpmsg.endpoint({ local: 2000 }), RangeError, "in use");
  assertThrows(() => rig.rpmsg.endpoint({ local: 53 }), RangeError, "53");
  assertThrows(() => rig.rpmsg.endpoint({ announce: "x".repeat(32) }), RangeError, "1 to 31");
  assertThrows(() => endpoint.send(text("x")), RangeError, "an address must be given");
  await assertRejects(() => endpoint.send(new Uint8Array(497), { to: 1 }), RangeError, "497");
  await assertRejects(() => endpoint.send(text("x"), { to: 0xffffffff }), RangeError);
  await endpoint.send(new Uint8Array(496), { to: 999 });
  await until(() => rig.model.unknown === 1);
  await using mute = await boot({ nameService: false });
  const error = await assertRejects(() => mute.rpmsg.channel("x"), VireoError);
  assertEquals(error.code, "UNSUPPORTED");
});

Deno.test("rpmsg: malformed messages and unknown addresses are counted, not delivered", async () => {
  await using rig = await boot();
  rig.model.send(1, 5555, text("nobody"));
  rig.model.send(1, 53, text("short name"));
  await until(() => rig.rpmsg.counters.malformed === 1);
  assertEquals(rig.rpmsg.counters, { malformed: 1, unknownAddress: 1, tooManyServices: 0 });
});

Deno.test("rpmsg: a device failure ends what waits; after a recovery all is new", async () => {
  await using rig = await boot();
  using endpoint = rig.rpmsg.endpoint({ remote: 0x400 });
  const waiting = assertRejects(() => endpoint.receive(), VireoError);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  assertEquals((await waiting).code, "DEVICE_NEEDS_RESET");
  await recovered;
  const channel = await rig.rpmsg.channel(ECHO.name, SOON);
  using again = rig.rpmsg.endpoint({ remote: channel.address });
  await again.send(text("there?"), SOON);
  assertEquals(words((await again.receive(SOON)).bytes), "there?");
});

async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + SOON.deadline;
  while (!done()) {
    assert(performance.now() < end, "not within the deadline");
    await turn();
  }
}
