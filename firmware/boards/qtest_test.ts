// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type MmioLease, MmioRegister as R, VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { BOARDS, findBoard, MMIO_BOARDS } from "./mod.ts";

const RISCV = findBoard("riscv64-virt");
const KINDS = MMIO_BOARDS.flatMap((board) => [false, true].map((legacy) => ({ board, legacy })));
const title = ({ board, legacy }: typeof KINDS[number]) => `${board.name} v${legacy ? 1 : 2}`;
const never = { signal: AbortSignal.timeout(60_000), ready: () => false };

/** The first bytes that a hand-written driver, with one buffer in a ring of 8, gets from virtio-rng. */
async function entropy(platform: QtestPlatform, lease: MmioLease, legacy: boolean, bytes: number) {
  const { mmio, interrupt } = lease;
  using ring = platform.dma.alloc(8192, { align: 4096 });
  using buffer = platform.dma.alloc(bytes);
  const view = new DataView(ring.bytes.buffer, ring.bytes.byteOffset, ring.bytes.byteLength);
  const used = 4096;
  mmio.write32(R.Status, 0);
  mmio.write32(R.Status, 1);
  mmio.write32(R.Status, 3);
  if (legacy) {
    mmio.write32(R.DriverFeatures, 0);
    mmio.write32(R.GuestPageSize, 4096);
  } else {
    mmio.write32(R.DriverFeaturesSel, 1);
    mmio.write32(R.DriverFeatures, 1); // VERSION_1
    mmio.write32(R.Status, 0xb);
    assertEquals(mmio.read32(R.Status), 0xb);
  }
  mmio.write32(R.QueueSel, 0);
  assert(mmio.read32(R.QueueSizeMax) >= 8);
  mmio.write32(R.QueueSize, 8);
  if (legacy) {
    mmio.write32(R.QueueAlign, 4096);
    mmio.write32(R.QueuePFN, ring.address / 4096);
  } else {
    mmio.write32(R.QueueDescLow, ring.address);
    mmio.write32(R.QueueDriverLow, ring.address + 128);
    mmio.write32(R.QueueDeviceLow, ring.address + used);
    mmio.write32(R.QueueReady, 1);
  }
  mmio.write32(R.Status, mmio.read32(R.Status) | 4);
  view.setBigUint64(0, BigInt(buffer.address), true);
  view.setUint32(8, bytes, true);
  view.setUint16(12, 2, true); // WRITE
  view.setUint16(132, 0, true); // avail.ring[0]
  view.setUint16(130, 1, true); // avail.idx
  const fired = interrupt.wait(never);
  mmio.write32(R.QueueNotify, 0);
  await fired;
  assertEquals(view.getUint16(used + 2, true), 1, "used.idx");
  assertEquals(view.getUint32(used + 4, true), 0, "used.ring[0].id");
  const length = view.getUint32(used + 8, true);
  await interrupt.wait(never); // the line is still raised
  assertEquals(mmio.read32(R.InterruptStatus), 1);
  mmio.write32(R.InterruptACK, 1);
  const stop = new AbortController();
  const lowered = interrupt.wait({ signal: stop.signal, ready: () => false });
  stop.abort(new Error("lowered"));
  await assertRejects(() => lowered, Error, "lowered");
  mmio.write32(R.Status, 0);
  return buffer.bytes.slice(0, length);
}

for (const kind of KINDS) {
  Deno.test(`qtest ${title(kind)}: slots, and entropy through a ring and an interrupt`, async () => {
    const { board, legacy } = kind;
    const devices = ["virtio-rng-device", "virtio-net-device", "virtio-serial-device"];
    await using platform = await QtestPlatform.start({ board, legacy, devices });
    assertEquals(platform.name, `qtest:${board.name}`);
    const ids: number[] = [];
    for (const node of platform.slots) {
      using lease = node.open();
      assertEquals(lease.mmio.read32(R.MagicValue), 0x74726976, node.name);
      assertEquals(lease.mmio.read32(R.Version), legacy ? 1 : 2, node.name);
      ids.push(lease.mmio.read32(R.DeviceID));
    }
    assertEquals(ids, [...Array(board.slots!.count - 3).fill(0), 3, 1, 4]);
    assertEquals(platform.diagnose(), undefined, "a warning that the card has no peer is none");
    using lease = platform.slots.at(-1)!.open();
    // Twice, over the same memory, so that a reset works too.
    const first = await entropy(platform, lease, legacy, 64);
    const second = await entropy(platform, lease, legacy, 64);
    assertEquals([first.length, second.length], [64, 64]);
    assert(first.some((byte, i) => byte !== second[i]));
    assert(new Set(first).size > 20);
  });
}

Deno.test("qtest: registers of each width, and accesses that the bus cannot make", async () => {
  const devices = ["virtio-net-device,mac=52:54:00:0a:0b:0c"];
  await using platform = await QtestPlatform.start({ board: RISCV, devices });
  using lease = platform.slots.at(-1)!.open();
  const { mmio } = lease;
  assertEquals([0, 1, 2, 3, 4, 5].map((i) => mmio.read8(R.Config + i)), [
    0x52,
    0x54,
    0,
    0xa,
    0xb,
    0xc,
  ]);
  assertEquals(mmio.read16(R.Config), 0x5452);
  assertEquals(mmio.read32(R.Config), 0x0a005452);
  assertThrows(() => mmio.read32(2), RangeError);
  assertThrows(() => mmio.write8(mmio.size, 0), RangeError);
  assertThrows(() => mmio.read16(-2), RangeError);
  assertThrows(() => mmio.read16(NaN), RangeError);
});

Deno.test("qtest: memory is the machine's, and views end with it", async () => {
  const platform = await QtestPlatform.start({ board: RISCV, memory: 64 << 20 });
  const region = platform.dma.alloc(4096, { align: 4096 });
  assertEquals(region.address % 4096, 0);
  region.bytes[5] = 0x5a;
  // QEMU's own view of the address, through the monitor.
  const shown = await platform.qmp.execute("human-monitor-command", {
    "command-line": `xp /1xb 0x${(region.address + 5).toString(16)}`,
  });
  assert(String(shown).includes("0x5a"), String(shown));
  using seen = platform.openMemory(region.address, 16);
  assertEquals(seen.bytes[5], 0x5a);
  const outside = assertThrows(() => platform.openMemory(0x1000, 16), VireoError);
  assert(outside instanceof VireoError && outside.code === "BAD_ACCESS");
  const full = assertThrows(() => platform.dma.alloc(64 << 20), VireoError);
  assert(full instanceof VireoError && full.code === "OUT_OF_MEMORY");
  await platform[Symbol.asyncDispose]();
  assertEquals(region.bytes.length, 0);
  assertThrows(() => platform.slots[0]!.open().mmio.read32(0), VireoError, "disposed");
});

Deno.test("qtest: a board has at least a MiB beside what is reserved, in whole MiB", async () => {
  const { reservedLow, reservedHigh } = RISCV.ram;
  const least = reservedLow + reservedHigh + (1 << 20);
  for (const memory of [least - (1 << 20), least + 1, NaN, 2 ** 60]) {
    await assertRejects(
      () => QtestPlatform.start({ board: RISCV, memory }),
      RangeError,
      `Cannot give the board ${memory} bytes of memory: expected a multiple of 1 MiB, at least ${least}`,
    );
  }
  await using platform = await QtestPlatform.start({ board: RISCV, memory: least });
  assertEquals(platform.dma.alloc(1 << 20).bytes.length, 1 << 20);
});

Deno.test("qtest: a QEMU that refuses its arguments is an error with its words", async () => {
  const start = () => QtestPlatform.start({ board: RISCV, devices: ["no-such-device"] });
  const error = await assertRejects(start, VireoError, "'no-such-device' is not a valid device");
  assert(error instanceof VireoError && error.code === "HOST_ERROR");
  const missing = () => QtestPlatform.start({ board: RISCV, qemu: "/no/such/qemu" });
  await assertRejects(missing, VireoError, "/no/such/qemu");
  const silent = () => QtestPlatform.start({ board: RISCV, qemu: "/bin/true" });
  await assertRejects(silent, VireoError, "QEMU ended");
});

Deno.test("qtest: the start keeps to its deadline and signal", async () => {
  // A QEMU that hangs: it gets our arguments and ignores them.
  const qemu = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(qemu, "#!/bin/sh\nexec sleep 1000\n");
    await Deno.chmod(qemu, 0o700);
    const late = await assertRejects(
      () => QtestPlatform.start({ board: RISCV, qemu, deadline: 100 }),
      VireoError,
    );
    assert(late instanceof VireoError && late.code === "TIMEOUT");
    const stop = new AbortController();
    const start = QtestPlatform.start({ board: RISCV, qemu, signal: stop.signal });
    stop.abort(new Error("changed my mind"));
    await assertRejects(() => start, Error, "changed my mind");
  } finally {
    await Deno.remove(qemu);
  }
});

Deno.test("qtest: a QEMU that dies ends waits and accesses", async () => {
  await using platform = await QtestPlatform.start({ board: RISCV });
  using lease = platform.slots[0]!.open();
  const wait = lease.interrupt.wait({ signal: AbortSignal.timeout(2000), ready: () => false });
  const command = platform.qmp.events().next();
  Deno.kill(platform.pid, "SIGKILL");
  const error = await assertRejects(() => wait, VireoError, "QEMU ended");
  assert(error instanceof VireoError && error.code === "HOST_ERROR");
  assertThrows(() => lease.mmio.read32(0), VireoError, "QEMU ended");
  await assertRejects(() => platform.qmp.execute("query-status"), VireoError, "QEMU ended");
  assertEquals((await command).done, true);
  await assertRejects(() => lease.interrupt.wait(never), VireoError, "QEMU ended");
});

Deno.test("qtest: a QEMU that hangs ends an access with its deadline", async () => {
  await using platform = await QtestPlatform.start({ board: RISCV, accessDeadline: 100 });
  using lease = platform.slots[0]!.open();
  Deno.kill(platform.pid, "SIGSTOP");
  assertThrows(() => lease.mmio.read32(0), VireoError, "did not answer within");
});

Deno.test("qtest: what QEMU refuses breaks the board with a typed error", async () => {
  await using platform = await QtestPlatform.start({ board: RISCV });
  assertThrows(() => platform.command("bogus"), VireoError, "QEMU answered 'FAIL");
  assertThrows(() => platform.slots[0]!.open().mmio.read32(0), VireoError, "FAIL");
});

Deno.test("qtest: the monitor answers, refuses and reports events", async () => {
  await using platform = await QtestPlatform.start({ board: RISCV });
  const events = platform.qmp.events();
  await platform.qmp.execute("system_reset");
  assertEquals((await events.next()).value?.event, "RESET");
  const error = await assertRejects(() => platform.qmp.execute("no-such-command"), VireoError);
  assert(error instanceof VireoError && error.code === "COMMAND_REFUSED");
  const stop = AbortSignal.abort(new Error("stopped"));
  const aborted = () => platform.qmp.execute("query-status", {}, { signal: stop });
  await assertRejects(aborted, Error, "stopped");
});

Deno.test("qtest: an interrupt comes while nobody accesses a register, on several boards", async () => {
  const boards = await Promise.all(MMIO_BOARDS.map(async (board) => {
    const devices = ["virtio-net-device,id=nic"];
    const platform = await QtestPlatform.start({ board, devices, memory: 64 << 20 });
    return { platform, lease: platform.slots.at(-1)!.open() };
  }));
  try {
    for (const { platform, lease: { mmio, interrupt } } of boards) {
      mmio.write32(R.Status, 3);
      mmio.write32(R.DriverFeaturesSel, 0);
      mmio.write32(R.DriverFeatures, 1 << 16); // NET_F_STATUS
      mmio.write32(R.DriverFeaturesSel, 1);
      mmio.write32(R.DriverFeatures, 1); // VERSION_1
      mmio.write32(R.Status, 0xb);
      mmio.write32(R.Status, 0xf);
      assertEquals(mmio.read16(R.Config + 6), 1, "link is up");
      const fired = interrupt.wait(never);
      await platform.qmp.execute("set_link", { name: "nic", up: false });
      await fired;
      // QEMU reports a configuration change with both bits (virtio_notify_config sets 3).
      assertEquals(mmio.read32(R.InterruptStatus) & 2, 2, platform.name);
      assertEquals(mmio.read16(R.Config + 6), 0, "link is down");
    }
  } finally {
    for (const { platform } of boards) await platform[Symbol.asyncDispose]();
  }
});

Deno.test("qtest: twenty boards leave no process, descriptor or file", async () => {
  const program = new URL("./_leaks.ts", import.meta.url);
  const args = ["run", "-A", "--no-prompt", program.href, "20"];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, stderr: "inherit" }).output();
  const { before, after } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals([after.children, after.names], [0, 0]);
  // Deno opens a few descriptors in its own time; one a board would be twenty.
  assert(after.fds - before.fds < 5, `${before.fds} descriptors became ${after.fds}`);
});

Deno.test("qtest: QEMU ends when its owner is killed", async () => {
  const program = new URL("./_orphan.ts", import.meta.url);
  const owner = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", program.href],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = owner.stdout.getReader();
  const { value } = await reader.read();
  const pid = Number(new TextDecoder().decode(value));
  assert(pid > 1);
  owner.kill("SIGKILL");
  await owner.status;
  await reader.cancel();
  // A second on an idle machine at most; only one that stays takes as long.
  const deadline = Date.now() + 30_000;
  const runs = async (): Promise<boolean> => {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
    return stat !== "" && !/\) [ZX] /.test(stat);
  };
  while (await runs()) assert(Date.now() < deadline, "QEMU is still there");
});

Deno.test("qtest: a parked processor is idle on every board", async () => {
  const ticks = async (pid: number): Promise<number> => {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]); // utime and stime, in 10 ms
  };
  const platforms = await Promise.all(BOARDS.map((board) => QtestPlatform.start({ board })));
  try {
    const before = await Promise.all(platforms.map(({ pid }) => ticks(pid)));
    // Time passing is what is tested here: a processor that spins would take 40 ticks.
    await new Promise((resolve) => setTimeout(resolve, 400));
    for (const [i, { pid, name }] of platforms.entries()) {
      assert(await ticks(pid) - before[i]! < 10, `${name} spins`);
    }
  } finally {
    for (const platform of platforms) await platform[Symbol.asyncDispose]();
  }
});
