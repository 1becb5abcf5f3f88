import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type DriverInstance, RequestQueue, SgList, type VirtioDevice } from "@vireo/drivers";
import { openVireo, type Vireo } from "@vireo/firmware";
import { ANY_ID, DeviceId, FeatureSet, VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { AARCH64_VIRT } from "../../firmware/boards/aarch64_virt.ts";
import { HostPorts } from "../../firmware/target/host_ports.ts";
import { watchPauses } from "../../firmware/target/paused.ts";
import { errorLines } from "../../firmware/terminal/report.ts";

/** A board with a disk on which writes fail, as on a host without room: all of them, or one. */
function openFull(werror: string, once = false): Promise<Vireo> {
  return openVireo({
    target: "qtest:aarch64-virt",
    blk: [],
    qemuArgs: [
      "-blockdev",
      JSON.stringify({
        driver: "blkdebug",
        "node-name": "full",
        image: { driver: "null-co", size: 1 << 20 },
        "inject-error": [{ event: "none", iotype: "write", errno: 28, once }],
      }),
    ],
    devices: [`virtio-blk-device,drive=full,werror=${werror}`],
  });
}

for (const werror of ["enospc", "stop"]) {
  Deno.test(`a QEMU that pauses under werror=${werror} fails the write instead of hanging`, async () => {
    await using vireo = await openFull(werror);
    const events = vireo.qmp!.events("STOP", "BLOCK_IO_ERROR");
    const error = await assertRejects(() => vireo.blk.write(0, new Uint8Array(512)), VireoError);
    assertEquals(error.code, "HOST_ERROR");
    assertMatch(
      error.message,
      /^QEMU has paused the machine: a write failed \(full\): saw BLOCK_IO_ERROR: No space left/,
    );
    assertEquals([vireo.qmp!.paused, vireo.qmp!.diagnose()?.message], [true, error.message]);
    const first = (await events.next()).value;
    // The type of the data follows from the name.
    assertEquals(first.event === "BLOCK_IO_ERROR" && first.data.operation, "write");
    assertEquals((await events.next()).value.event, "STOP");
    await events.return?.();
  });
}

Deno.test("a QEMU that its monitor pauses says so until it goes on", async () => {
  await using vireo = await openVireo({ target: "qtest:aarch64-virt" });
  const { qmp, platform } = vireo;
  const events = qmp!.events("STOP", "RESUME");
  await qmp!.execute("stop");
  assertEquals((await events.next()).value.event, "STOP");
  assertEquals(
    platform.diagnose?.("any")?.message,
    "QEMU has paused the machine: expected 'cont' from its monitor",
  );
  await qmp!.execute("cont");
  assertEquals((await events.next()).value.event, "RESUME");
  assertEquals([qmp!.paused, platform.diagnose?.("any")], [false, undefined]);
  await events.return?.();
});

Deno.test("the host watches a guest's QEMU for pauses, by a monitor of its own", async () => {
  await using ports = await HostPorts.listen({ monitor: true });
  await using platform = await QtestPlatform.start({
    board: AARCH64_VIRT,
    extraArgs: ports.monitorArguments,
  });
  const qmp = await ports.watch();
  const told = Promise.withResolvers<string>();
  const watching = watchPauses(qmp, {
    failed: ({ message }) => told.reject(message),
    paused: ({ message }) => told.resolve(message),
  });
  await platform.qmp.execute("stop");
  assertEquals(
    await told.promise,
    "QEMU has paused the machine: expected 'cont' from its monitor",
  );
  await qmp.close();
  await watching;
});

Deno.test("a write that a program lets go on within a second is answered", async () => {
  await using vireo = await openFull("stop", true);
  const events = vireo.qmp!.events("STOP");
  const writing = vireo.blk.write(0, new Uint8Array(512));
  await events.next();
  await vireo.qmp!.execute("cont");
  await writing;
  await events.return?.();
});

Deno.test("a machine's reset and QEMU's end are typed events", async () => {
  const vireo = await openVireo({ target: "qtest:aarch64-virt" });
  const events = vireo.qmp!.events("RESET", "SHUTDOWN");
  await vireo.qmp!.execute("system_reset");
  const reset = (await events.next()).value;
  assertEquals([reset.event, reset.data.reason], ["RESET", "host-qmp-system-reset"]);
  await vireo.qmp!.execute("quit");
  const shutdown = (await events.next()).value;
  assertEquals([shutdown.event, shutdown.data.reason], ["SHUTDOWN", "host-qmp-quit"]);
  assertEquals(vireo.qmp!.shutdownReason, "host-qmp-quit");
  // The drivers cannot be taken off devices that are gone.
  await vireo[Symbol.asyncDispose]().then(undefined, () => {});
});

/** Lends QEMU an empty buffer, which it refuses. */
class Wrong implements DriverInstance {
  readonly #device: VirtioDevice;
  readonly #requests: RequestQueue;

  constructor(device: VirtioDevice) {
    this.#device = device;
    const callback = (): void => this.#requests.drain();
    this.#requests = new RequestQueue(device.findQueues([{ name: "input", callback }])[0]!);
  }

  ask(): Promise<number> {
    const list = new SgList(2).addWritable(0x4000_0000, 64).addWritable(0x4000_0040, 0);
    return this.#requests.submit(list, { deadline: 200 });
  }

  async remove(): Promise<void> {
    await this.#device.reset();
    this.#device.deleteQueues();
  }
}

Deno.test("what QEMU says of a driver's mistake is the cause of the driver's error", async () => {
  await using vireo = await openVireo({ target: "qtest:aarch64-virt" });
  const wrong = await vireo.use({
    name: "wrong",
    ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
    features: FeatureSet.NONE,
    probe: (device) => new Wrong(device),
  });
  const error = await assertRejects(() => wrong.ask(), VireoError);
  assertMatch(
    errorLines(error)[1]!,
    /^ {2}because: QEMU says '.*virtio.*zero sized.*' \[VIOLATION\]/,
  );
});
