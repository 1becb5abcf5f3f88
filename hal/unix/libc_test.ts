import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Libc, Received } from "./libc.ts";
import { MessageSocket } from "./message_socket.ts";
import { SharedRam } from "./shared_ram.ts";

const PAGE = 4096;

/** The C library, and descriptors that are closed with it. */
class Rig implements Disposable {
  readonly libc = new Libc();
  readonly #fds: number[] = [];

  file(size: number): number {
    return this.closed(this.libc.memoryFile("test", size))!;
  }

  pair(): [number, number] {
    const pair = this.libc.socketPair();
    this.#fds.push(...pair);
    return pair;
  }

  closed<T extends number | undefined>(fd: T): T {
    if (fd !== undefined) this.#fds.push(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) this.libc.close(fd);
    this.libc.dispose();
  }
}

Deno.test("libc: a memory file has its size, bytes at offsets, and keeps its size once fixed", () => {
  using rig = new Rig();
  const { libc } = rig;
  const fd = rig.file(3 * PAGE);
  assertEquals([libc.fileSize(fd), libc.keepsSize(fd)], [3 * PAGE, false]);
  libc.writeAt(fd, Uint8Array.of(1, 2, 3), PAGE - 1);
  const seen = new Uint8Array(5);
  assertEquals([libc.readAt(fd, seen, PAGE - 2), [...seen]], [5, [0, 1, 2, 3, 0]]);
  assertEquals(libc.readAt(fd, seen, 3 * PAGE - 2), 2);
  libc.fixSize(fd);
  assertEquals(libc.keepsSize(fd), true);
  assertThrows(() => libc.writeAt(fd, Uint8Array.of(1), 3 * PAGE), VireoError, "pwrite");
  assertEquals(libc.fileSize(fd), 3 * PAGE);
  const [socket] = rig.pair();
  assertEquals(libc.keepsSize(socket), false);
  const { code, seen: words } = assertThrows(() => libc.fileSize(socket), VireoError);
  assertEquals([code, words], ["HOST_ERROR", "Illegal seek"]);
});

Deno.test("libc: mappings of a file are its bytes, also in a reserved range, until they are cleared", () => {
  using rig = new Rig();
  const { libc } = rig;
  const fd = rig.file(2 * PAGE);
  const whole = libc.map(fd, 2 * PAGE);
  const bytes = new Uint8Array(whole.buffer);
  bytes[PAGE + 5] = 7;
  const range = libc.reserve(4 * PAGE, 1 << 20);
  assertEquals(Number(Deno.UnsafePointer.value(range.pointer)) % (1 << 20), 0);
  const all = new Uint8Array(range.buffer);
  assertEquals([all.length, all.every((byte) => byte === 0)], [4 * PAGE, true]);
  // The second page of the file is the third one of the range.
  libc.mapAt(range, 2 * PAGE, PAGE, fd, PAGE);
  assertEquals([all[2 * PAGE + 5], all[PAGE + 5]], [7, 0]);
  all[2 * PAGE + 6] = 8;
  assertEquals(bytes[PAGE + 6], 8);
  all[4 * PAGE - 1] = 9;
  libc.clearAt(range, 2 * PAGE, PAGE);
  assertEquals([all[2 * PAGE + 5], all[4 * PAGE - 1], bytes[PAGE + 5]], [0, 9, 7]);
  // A range that may begin at any page has nothing before it to give back.
  const anywhere = libc.reserve(PAGE, PAGE);
  assertEquals(anywhere.buffer.byteLength, PAGE);
  for (const mapping of [whole, range, anywhere]) libc.unmap(mapping);
  assertEquals([bytes.length, all.length], [0, 0]);
  assertThrows(() => libc.map(-1, PAGE), VireoError, "mmap");
});

Deno.test("libc: sockets listen, connect, are accepted and named; a long path is refused", async () => {
  using rig = new Rig();
  const { libc } = rig;
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/s.sock`;
    const server = rig.closed(libc.listen(path));
    assertEquals([libc.accept(server), libc.peerPath(server)], [undefined, undefined]);
    const client = rig.closed(libc.connect(path));
    const accepted = rig.closed(libc.accept(server))!;
    assertEquals([libc.peerPath(client), libc.peerPath(accepted)], [path, ""]);
    const into = new Uint8Array(8);
    assertEquals(libc.receive(accepted, into, 8n, false), Received.NOTHING);
    assertEquals(libc.send(client, Uint8Array.of(1, 2, 3), 2), true);
    await libc.readable(server, accepted);
    assertEquals([libc.receive(accepted, into, 8n, false), into[0], into[1]], [2, 1, 2]);
    assertThrows(() => libc.listen(path), VireoError, path);
    assertThrows(() => libc.connect(`${folder}/none`), VireoError, `${folder}/none`);
    // 107 bytes are the longest path.
    const long = `${folder}/`.padEnd(107, "x");
    rig.closed(libc.listen(long));
    assertEquals(libc.peerPath(rig.closed(libc.connect(long))), long);
    for (const [bad, length] of [["", 0], [`${long}x`, 108]] as const) {
      const text = `Cannot use a socket path of ${length} bytes: expected 1 to 107`;
      assertThrows(() => libc.connect(bad), RangeError, text);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("libc: all bytes are sent until the other side is too slow or gone", () => {
  using rig = new Rig();
  const { libc } = rig;
  const [left, right] = rig.pair();
  libc.setSocketDeadline(left, 20);
  libc.setSocketDeadline(right, 20);
  const into = new Uint8Array(8);
  const start = performance.now();
  assertEquals(libc.receive(right, into, 8n, true), Received.NOTHING);
  assertEquals(performance.now() - start >= 15, true);
  assertEquals(libc.send(left, new Uint8Array(4 << 20), 4 << 20), false, "no room for 4 MiB");
  libc.setNonBlocking(left);
  assertEquals(libc.send(left, into, 8), false);
  libc.close(libc.inheritable(right));
  const [near, far] = libc.socketPair();
  libc.close(far);
  assertEquals(libc.send(near, into, 8), false);
  assertEquals(libc.receive(near, into, 8n, true), 0, "the end");
  libc.close(near);
});

Deno.test("libc: an eventfd is set and cleared, and wakes those that poll it", () => {
  using rig = new Rig();
  const { libc } = rig;
  const [a, b] = [rig.closed(libc.eventFd()), rig.closed(libc.eventFd())];
  const list = (): Int32Array<ArrayBuffer> => Int32Array.of(a, 1, b, 1);
  assertEquals([libc.clearEvent(a), libc.poll(list(), 0)], [false, false]);
  libc.signalEvent(b);
  libc.signalEvent(b);
  assertEquals([libc.poll(list(), 1000), libc.clearEvent(a)], [true, false]);
  assertEquals([libc.clearEvent(b), libc.clearEvent(b)], [true, false]);
});

Deno.test("message sockets: descriptors come with their bytes, up to 32 at once", () => {
  using rig = new Rig();
  const { libc } = rig;
  const [left, right] = rig.pair();
  const [sender, receiver] = [left, right].map((fd) => new MessageSocket(libc, fd, 64));
  const event = rig.closed(libc.eventFd());
  const into = new Uint8Array(8);
  assertEquals(receiver!.receive(into, []), Received.NOTHING);
  for (const count of [0, 1, 2, 3, 32]) {
    const fds: number[] = [];
    assertEquals(sender!.send(Uint8Array.of(1, 2, 3), Array(count).fill(event)), 3);
    assertEquals([receiver!.receive(into, fds), ...into.subarray(0, 3)], [3, 1, 2, 3]);
    assertEquals(fds.length, count);
    // Each is the same event.
    for (const fd of fds) {
      libc.signalEvent(fd);
      assertEquals(libc.clearEvent(event), true);
      libc.close(fd);
    }
  }
  assertThrows(
    () => sender!.send(into, Array(33).fill(event)),
    RangeError,
    "Cannot send 33 descriptors: at most 32 go at once",
  );
  // No more is taken than asked for, and the rest comes without descriptors.
  sender!.send(Uint8Array.of(1, 2, 3));
  assertEquals([receiver!.receive(into.subarray(0, 2), []), into[0], into[1]], [2, 1, 2]);
  assertEquals([receiver!.receive(into, []), into[0]], [1, 3]);
});

Deno.test("shared RAM: what is reserved is not given out, and windows lie inside", async () => {
  const base = 0x4000_0000;
  const buffer = new ArrayBuffer(4 * PAGE);
  new Uint8Array(buffer).fill(7);
  const map = { base, reservedLow: PAGE, reservedHigh: PAGE };
  const ram = new SharedRam(map, buffer);
  assertEquals(ram.freeBytes, 2 * PAGE);
  const region = ram.alloc(2 * PAGE);
  assertEquals([region.address, region.bytes.every((byte) => byte === 0)], [base + PAGE, true]);
  await assertRejects(async () => await ram.alloc(1), VireoError);
  region[Symbol.dispose]();
  assertEquals(ram.freeBytes, 2 * PAGE);
  for (
    const [offset, length, has] of [
      [0, 4 * PAGE, true],
      [4 * PAGE, 0, true],
      [-1, 1, false],
      [0, 4 * PAGE + 1, false],
      [4 * PAGE, 1, false],
      [8, -1, false],
    ] as const
  ) {
    assertEquals([offset, ram.window(base + offset, length)?.length], [
      offset,
      has ? length : undefined,
    ]);
  }
  assertEquals(ram.window(base + 5, 1)?.byteOffset, 5);
});
