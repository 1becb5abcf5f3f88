import { assert, assertEquals } from "@std/assert";
import { Feature } from "@vireo/hal";
import type { BoardOptions } from "../../firmware/target/options.ts";
import { openVireo } from "../../firmware/session.ts";
import { deadline, DEVICES } from "./device_checks.ts";
import { Served, type ServedOptions } from "./served.ts";
import { wait } from "./wait.ts";

/** QEMU 7.2 ends by a null pointer when a driver asks for pending vectors of a network device behind vhost. */
const NO_VECTORS = ",vectors=0";
/**
 * QEMU's front ends on virtio-mmio and on PCI. Without KVM, only the disk's passes on what is notified on
 * virtio-mmio, and the ones for input and gpu do not start.
 */
const FRONT_ENDS: Readonly<Record<string, readonly [mmio: string, pci: string]>> = {
  blk: ["vhost-user-blk", "vhost-user-blk-pci"],
  rng: ["", "vhost-user-rng-pci"],
  scsi: ["", "vhost-user-scsi-pci"],
  vsock: ["", "vhost-user-vsock-pci"],
  net: ["", "virtio-net-pci"],
};
const BOARDS = ["qtest:x86_64-microvm", "qtest:x86_64-q35"] as const;

/** A board of QEMU that has a served device in place of its own. */
function board(
  target: typeof BOARDS[number],
  name: string,
  path: string,
  properties = "",
): Partial<BoardOptions> | undefined {
  const device = FRONT_ENDS[name]![target === BOARDS[0] ? 0 : 1];
  if (device === "") return undefined;
  const socket = ["-chardev", `socket,id=vu0,path=${path}`];
  const net = name === "net";
  const back = net ? `netdev=n0${NO_VECTORS}` : "chardev=vu0";
  return {
    target,
    blk: [],
    net: { kind: "none" },
    qemuArgs: net ? [...socket, "-netdev", "vhost-user,id=n0,chardev=vu0"] : socket,
    devices: [`${device},${back}${properties}`],
  };
}

/** What front ends and drivers did wrong. */
function wrongs({ events }: Served): unknown[] {
  return events.filter((event) =>
    event.kind === "refused" || event.kind === "violation" ||
    event.kind === "disconnected" && event.reason !== undefined
  );
}

for (const name of Object.keys(FRONT_ENDS)) {
  Deno.test(`vhost-user: QEMU is the front end of our ${name}`, async (t) => {
    await using served = await Served.start(name);
    for (const target of BOARDS) {
      // A second machine finds the device as the first one did.
      for (const round of ["first", "second"]) {
        const options = board(target, name, served.path);
        if (options === undefined) continue;
        await t.step(`${target}, ${round} machine`, async () => {
          {
            await using vireo = await openVireo(options);
            assertEquals(vireo.bus.slotErrors, []);
            for (const device of vireo.bus.devices) assertEquals(device.error, undefined);
            await DEVICES[name]!(vireo, served);
            assert(await served.regions() >= 1);
          }
          await wait(
            "the machine to leave",
            () => served.events.at(-1)?.kind === "disconnected",
          );
          assertEquals(wrongs(served), []);
        });
      }
    }
  });
}

for (const name of ["blk", "net"]) {
  Deno.test(`vhost-user: QEMU is the front end of our ${name}, with packed rings`, async () => {
    await using served = await Served.start(name, { offer: { packed: true } });
    const options = board("qtest:x86_64-q35", name, served.path, ",packed=on")!;
    await using vireo = await openVireo(options);
    assert(vireo.bus.devices.some((device) => device.has(Feature.RING_PACKED)));
    await DEVICES[name]!(vireo, served);
    assertEquals(wrongs(served), []);
  });
}

Deno.test("vhost-user: what QEMU accepts without an offer is honoured, and reported", async () => {
  const options: ServedOptions = { offer: { eventIdx: false, indirect: false } };
  await using served = await Served.start("rng", options);
  {
    await using vireo = await openVireo(board("qtest:x86_64-q35", "rng", served.path)!);
    await DEVICES["rng"]!(vireo, served);
  }
  await wait("the machine to leave", () => served.events.at(-1)?.kind === "disconnected");
  // QEMU 7.2 does so; later ones ask for what is offered.
  for (const event of wrongs(served) as { kind: string; violation?: { reason: string } }[]) {
    assertEquals(event.violation?.reason, "bits that are not offered: 28,29");
  }
});

Deno.test("vhost-user: a resized disk reaches a driver behind QEMU", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-q35", "blk", served.path)!);
  const { blk } = vireo;
  const { capacity } = blk;
  await served.call("resize", capacity / 512 / 4);
  await wait("the capacity to shrink", () => blk.capacity === capacity / 4);
  await blk.read(0, 512, { deadline });
});

Deno.test("vhost-user: a machine that is reset finds the device as at first", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-microvm", "blk", served.path)!);
  for (let i = 0; i < 3; i++) {
    await vireo.bus.recover(vireo.bus.devices.find(({ deviceId }) => deviceId === 2)!);
    await DEVICES["blk"]!(vireo, served);
  }
  assertEquals(wrongs(served), []);
});

Deno.test("vhost-user: a machine that is paused and goes on keeps its disk", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-q35", "blk", served.path)!);
  for (let i = 0; i < 3; i++) {
    await DEVICES["blk"]!(vireo, served);
    await vireo.qmp!.execute("stop");
    await vireo.qmp!.execute("cont");
  }
  await DEVICES["blk"]!(vireo, served);
  assertEquals(wrongs(served), []);
});
