import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { DeviceId } from "@vireo/hal";
import { openVireo } from "../../firmware/session.ts";
import { checkIntegrity } from "../blk/random_io.ts";
import { vireo as vireoCommand } from "../cli_helper.ts";
import { storageDaemon, temporaryFolder } from "./daemon.ts";
import { openDescriptors, wait } from "./wait.ts";
import { bytesBy } from "../noise.ts";

const SIZE = 8 * 1024 * 1024;

async function withDaemon(
  use: (socket: string, image: string, kill: () => Promise<void>) => Promise<void>,
): Promise<void> {
  await using folder = temporaryFolder();
  const image = `${folder.path}/disk.img`;
  await Deno.writeFile(image, new Uint8Array(SIZE));
  await using daemon = await storageDaemon(image, `${folder.path}/blk.sock`);
  await use(daemon.socket, image, async () => {
    daemon.process.kill("SIGKILL");
    await daemon.process.status;
  });
}

Deno.test("vhost-user: every request of a disk reaches QEMU's storage daemon, and its image", async () => {
  await withDaemon(async (socket, image) => {
    const before = openDescriptors();
    {
      await using vireo = await openVireo({ target: `vhost-user:blk=${socket}` });
      const { blk } = vireo;
      const [device] = vireo.bus.devices;
      assertEquals(device!.transport.kind, "vhost-user");
      assertEquals(device!.transport.route?.policy, "eventfd");
      assertEquals(device!.queues.length, 2);
      assertEquals(blk.capacity, SIZE);
      const data = bytesBy(1_000_448, (i) => i * 7 + (i >> 8));
      await blk.write(3, data);
      await blk.flush();
      assertEquals(await blk.read(3, data.length), data);
      assertEquals((await Deno.readFile(image)).subarray(1536, 1536 + data.length), data);
      await blk.writeZeroes([{ sector: 8, sectors: 16 }]);
      assertEquals(await blk.read(8, 16 * 512), new Uint8Array(16 * 512));
      await blk.discard([{ sector: 64, sectors: 64 }]);
      await blk.flush();
      const expected = data.slice();
      expected.fill(0, 5 * 512, 21 * 512);
      const file = (await Deno.readFile(image)).subarray(1536, 1536 + data.length);
      assertEquals(file.subarray(0, 61 * 512), expected.subarray(0, 61 * 512));
      assertEquals(file.subarray(125 * 512), expected.subarray(125 * 512));
      assertEquals(await blk.getId(), "vhost_user_blk");
      blk.writeCache = true;
      assertEquals(blk.writeCache, true);
      await assertRejects(() => blk.read(SIZE / 512, 512), VireoError);
    }
    assertEquals(openDescriptors(), before);
  });
});

Deno.test("vhost-user: random requests, aborts and resets on QEMU's storage daemon", async () => {
  await withDaemon(async (socket) => {
    const report = await checkIntegrity({
      platform: () =>
        new VhostUserPlatform({ devices: [{ deviceId: DeviceId.BLOCK, path: socket }] }),
      total: 32 * 1024 * 1024,
      seed: 17,
      upsets: 6,
      // It closes the eventfd at a reset, and ends when a request that was under way is done.
      resetsIdle: true,
    });
    assert(report.bytes >= 32 * 1024 * 1024);
    assert(report.resets > 0);
  });
});

Deno.test("vhost-user: a daemon that is killed leaves typed errors, and is driven again when it is back", async () => {
  await using folder = temporaryFolder();
  const image = `${folder.path}/disk.img`;
  const socket = `${folder.path}/blk.sock`;
  await Deno.writeFile(image, new Uint8Array(SIZE));
  {
    await using daemon = await storageDaemon(image, socket);
    await using vireo = await openVireo({ target: `vhost-user:blk=${socket}` });
    const { blk } = vireo;
    await blk.write(0, new Uint8Array(4096).fill(0x5a));
    await blk.flush();
    daemon.process.kill("SIGKILL");
    await daemon.process.status;
    const error = await assertRejects(() => blk.read(0, 512, { deadline: 10_000 }), VireoError);
    assertEquals(error.code, "DEVICE_REMOVED");
    await wait("the transport to know", () => !vireo.bus.devices[0]!.transport.isPresent());
    assertEquals((await vireo.bus.removeMissing()).length, 1);
  }
  await Deno.remove(socket);
  await using _daemon = await storageDaemon(image, socket);
  await using vireo = await openVireo({ target: `vhost-user:blk=${socket}` });
  assertEquals(await vireo.blk.read(0, 4096), new Uint8Array(4096).fill(0x5a));
});

Deno.test("vhost-user: commands take the target, and say what is wrong with one", async () => {
  await withDaemon(async (socket) => {
    const target = `--target vhost-user:blk=${socket}`;
    const info = await vireoCommand(`blk info --json ${target}`);
    assertEquals([info.code, JSON.parse(info.out).bytes], [0, SIZE]);
    const probe = await vireoCommand(`probe ${target}`);
    assertEquals(probe.code, 0);
    assert(probe.out.includes(`block (id 2) at vhost-user:${socket}, vhost-user`), probe.out);
  });
  const none = await vireoCommand("blk info --target vhost-user:blk=/nonexistent/a.sock");
  assertEquals(none.code, 1);
  assert(none.err.includes("connect to /nonexistent/a.sock"), none.err);
  for (
    const [text, message] of [
      ["vhost-user:disk=/a", "no device 'disk' for vhost-user"],
      ["vhost-user:blk", "expected vhost-user:NAME=SOCKET, got 'blk'"],
      ["vhost-user:blk=", "expected vhost-user:NAME=SOCKET, got 'blk='"],
    ] as const
  ) {
    const result = await vireoCommand(`probe --target ${text}`);
    assertEquals(result.code, 2);
    assert(result.err.includes(message), result.err);
  }
});
