import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Libc } from "../unix/libc.ts";
import { DeviceId } from "../virtio/ids.ts";
import { joinBytes, u32s, u64s } from "./bits64.ts";
import type { VhostUserFrontEnd } from "./front_end.ts";
import type { VhostUserNode } from "./node.ts";
import { VhostUserPlatform } from "./platform.ts";

Deno.test("a vhost-user platform has whole pages of memory, and 1 to 128 pairs", async () => {
  const expected = "expected a multiple of 4096";
  for (const memorySize of [0, -4096, 100, 4097, 4096.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => new VhostUserPlatform({ devices: [], memorySize }), RangeError, expected);
  }
  for (const pairs of [0, 129, 1.5, NaN]) {
    const why = `Cannot use ${pairs} queue pairs: expected 1 to 128`;
    assertThrows(() => new VhostUserPlatform({ devices: [], pairs }), RangeError, why);
  }
  for (const pairs of [1, 128]) {
    await using platform = new VhostUserPlatform({ devices: [], memorySize: 4096, pairs });
    assertEquals(platform.nodes(), []);
    assertEquals(platform.dma.alloc(4096).bytes.length, 4096);
  }
});

Deno.test("a vhost-user platform opens its memory, and no other", async () => {
  await using platform = new VhostUserPlatform({ devices: [], memorySize: 8192 });
  using region = platform.dma.alloc(4096);
  region.bytes.set([1, 2, 3]);
  using view = platform.openMemory(region.address + 1, 2);
  assertEquals(view.bytes, new Uint8Array([2, 3]));
  view.bytes[1] = 4;
  assertEquals(region.bytes[2], 4, "the same memory");
  const whole = platform.openMemory(0x1_0000_0000, 8192);
  assertEquals(whole.bytes.length, 8192);
  for (const [address, length] of [[0xffff_ffff, 2], [0x1_0000_0001, 8192]] as const) {
    const error = assertThrows(() => platform.openMemory(address, length), VireoError);
    assertEquals([error.code, error.seen], ["BAD_ACCESS", address]);
  }
});

Deno.test("a vhost-user platform connects to the socket of each node when it is opened, and closes all", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-vhost-" });
  const open = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = open();
  const mapped = (): boolean =>
    Deno.readTextFileSync("/proc/self/maps").includes("vireo-vhost-user");
  const libc = new Libc();
  try {
    const path = `${folder}/a.sock`;
    const server = libc.listen(path);
    const platform = new VhostUserPlatform({
      devices: [{ deviceId: DeviceId.RNG, path }, { deviceId: DeviceId.BLOCK, path: "/none" }],
      deadline: 1,
      memorySize: 4096,
    });
    assertEquals([platform.name, mapped()], ["vhost-user", true]);
    // No back end can take pages away.
    const memory = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name))
      .filter((fd) => libc.keepsSize(fd));
    assertEquals(memory.map((fd) => libc.fileSize(fd)), [4096]);
    const nodes = platform.nodes() as readonly VhostUserNode[];
    assertEquals(nodes.map(({ kind, name, deviceId }) => [kind, name, deviceId]), [
      ["vhost-user", `vhost-user:${path}`, DeviceId.RNG],
      ["vhost-user", "vhost-user:/none", DeviceId.BLOCK],
    ]);
    assertEquals(libc.accept(server), undefined);
    assertEquals(assertThrows(() => nodes[1]!.open(), VireoError).code, "HOST_ERROR");
    // This side of the connection says nothing.
    const held = open();
    const late = assertThrows(() => nodes[0]!.open(), VireoError, "Timed out after 1 ms");
    assertEquals(late.code, "TIMEOUT");
    const silent = libc.accept(server)!;
    assertEquals(open(), held + 1);
    libc.close(silent);

    const later = new VhostUserPlatform({
      devices: [{ deviceId: DeviceId.NET, path }],
      reconnect: 5000,
      pairs: 2,
    });
    // The answer to the greeting is there before the question.
    const { connect } = Libc.prototype;
    let theirs = -1;
    Libc.prototype.connect = function (path) {
      const fd = connect.call(this, path);
      theirs = libc.accept(server)!;
      // Features, MQ among them, then those of the protocol, MQ and INFLIGHT_SHMFD, and three pairs.
      for (const [request, value] of [[1, 2 ** 30 + 2 ** 22], [15, 0x1001], [17, 3]] as const) {
        const answer = joinBytes(u32s(request, 5, 8), u64s(value));
        libc.send(theirs, answer, answer.length);
      }
      return fd;
    };
    const lease = (later.nodes() as readonly VhostUserNode[])[0]!.open() as VhostUserFrontEnd;
    Libc.prototype.connect = connect;
    assertEquals([lease.present, lease.pairs, lease.queues], [true, 2, 5]);
    assertEquals([...lease.protocol], [0, 12], "with time for another back end it notes requests");
    await later[Symbol.asyncDispose]();
    assertEquals(lease.present, false);
    libc.close(theirs);

    await platform[Symbol.asyncDispose]();
    await platform[Symbol.asyncDispose]();
    libc.close(server);
    assertEquals([open(), mapped()], [before, false]);
  } finally {
    libc.dispose();
    await Deno.remove(folder, { recursive: true });
  }
});
