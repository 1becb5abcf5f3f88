// Starts and ends boards in a loop and prints what they left behind; run by qtest_test.ts in a
// process of its own, because other tests open descriptors and start processes too.
import { QtestPlatform } from "@vireo/hal/qtest";
import { findBoard, MMIO_BOARDS } from "./boards.ts";

/** Descriptors and children of this process, and names that a board could leave in memory. */
function traces(): { fds: number; children: number; names: number } {
  const names = [...Deno.readDirSync("/dev/shm")].filter(({ name }) => name.includes("vireo"));
  const fds = [...Deno.readDirSync("/proc/self/fd")].length;
  const children = [...Deno.readDirSync("/proc")].filter(({ name }) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] === String(Deno.pid);
    } catch {
      return false; // it ended meanwhile
    }
  });
  return { fds, children: children.length, names: names.length };
}

async function round(i: number): Promise<void> {
  await using platform = await QtestPlatform.start({ board: MMIO_BOARDS[i % MMIO_BOARDS.length]! });
  using lease = platform.slots[0]!.open();
  if (lease.mmio.read32(0) !== 0x74726976) throw new Error("no virtio-mmio there");
  // A wait parks a poll; disposal must end it.
  lease.interrupt.wait({ signal: new AbortController().signal, ready: () => false })
    .catch(() => {});
}

// The first start opens what Deno itself keeps for children.
await round(0);
const before = traces();
for (let i = 0; i < Number(Deno.args[0]); i++) await round(i);
for (let i = 0; i < 3; i++) {
  const board = findBoard("riscv64-virt");
  const started = QtestPlatform.start({ board, devices: ["no-such-device"] });
  if (await started.then(() => true, () => false)) throw new Error("a bad start succeeded");
}
const text = JSON.stringify({ before, after: traces() });
await Deno.stdout.write(new TextEncoder().encode(text));
