import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { VireoError } from "@vireo/hal";
import { bundle } from "../../firmware/image/mod.ts";
import { bootGuest, type BootOptions } from "../../firmware/guest/mod.ts";

/** Longer than any of these guests needs, even on a busy machine. */
const DEADLINE = 120_000;

/** The program of these tests: does what its first argument says. */
const PROGRAM = new URL("../guest_test_program.ts", import.meta.url).pathname;

async function boot(
  board: string,
  args: readonly string[],
  options: Partial<BootOptions> = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const text = { stdout: "", stderr: "" };
  const decoder = new TextDecoder();
  const { exitCode } = await bootGuest({
    board,
    program: await bundle(PROGRAM),
    args,
    devices: ["-device", "virtio-rng-device"],
    deadline: DEADLINE,
    output: {
      stdout: (bytes) => void (text.stdout += decoder.decode(bytes)),
      stderr: (bytes) => void (text.stderr += decoder.decode(bytes)),
    },
    ...options,
  });
  return { exitCode, ...text };
}

/** The temporary directory of a guest: where its QEMU has the initramfs from. */
function guestDirectory(pid: number): string {
  const words = Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0");
  return words[words.indexOf("-initrd") + 1]!.replace(/\/[^/]+$/, "");
}

for (const board of ["x86_64-microvm", "aarch64-virt"]) {
  for (const legacy of [false, true]) {
    const version = legacy ? 1 : 2;
    Deno.test(`bootGuest reads the registers of ${board}, version ${version}`, async () => {
      const result = await boot(board, ["registers", "a b", "ü\n"], { legacy });
      assertEquals(result.stderr, "to stderr\n");
      assertEquals(JSON.parse(result.stdout), {
        args: ["registers", "a b", "ü\n"],
        devices: [{ magic: 0x74726976, version, id: 4 }],
        dma: { aligned: true, zeroed: true },
      });
      assertEquals(result.exitCode, 3);
    });
  }
}

/** Linux's own driver of virtio on PCI, after what it needs. */
const VIRTIO_PCI = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"]
  .concat("virtio_pci").map((name) => `kernel/drivers/virtio/${name}.ko`);
// Each kind of device and of interrupt once, and once functions that Linux's driver has.
const PCI = [
  ["x86_64-q35", "legacy", "INTx", []],
  ["x86_64-q35", "modern", "poll", VIRTIO_PCI],
  ["aarch64-virt-pci", "modern", "INTx", VIRTIO_PCI],
  ["aarch64-virt-pci", "transitional", "poll", []],
] as const;
for (const [board, kind, interrupt, modules] of PCI) {
  const taken = modules.length > 0 ? ", taken from Linux" : "";
  Deno.test(`bootGuest drives PCI of ${board}, ${kind}, by ${interrupt}${taken}`, async () => {
    const drivers = modules.map((path) => path.replace(/.*\//, "/vireo/"));
    const { stdout, stderr, exitCode } = await boot(board, ["pci", kind, interrupt, ...drivers], {
      modules,
      legacy: kind === "legacy",
      transitional: kind === "transitional",
      devices: ["-device", "virtio-rng-pci,addr=03", "-device", "virtio-rng-pci,addr=05"],
    });
    assertEquals([exitCode, stderr], [0, ""]);
    const id = kind === "modern" ? 0x1044 : 0x1005;
    const polled = interrupt === "poll";
    const found = {
      id,
      assigned: true,
      restored: true,
      polled,
      driver: taken ? "virtio-pci" : null,
    };
    assertEquals(JSON.parse(stdout), [
      { name: "0000:00:03.0", ...found },
      { name: "0000:00:05.0", ...found },
    ]);
  });
}

Deno.test("bootGuest reports a program that throws, with the line of its source", async () => {
  const { exitCode, stderr } = await boot("aarch64-virt", ["throw"]);
  assertEquals(exitCode, 1);
  assertStringIncludes(stderr, "Uncaught Error: thrown in the guest");
  assertMatch(stderr, /at fail \(file:\/\/\/.*\/tests\/guest_test_program\.ts:\d+:\d+\)/);
});

Deno.test("bootGuest hands standard input on and takes an exit from anywhere", async () => {
  const input = "line\n".repeat(2000);
  const stdin = new Blob([input]).stream();
  const { exitCode, stdout } = await boot("aarch64-virt", ["cat"], { stdin });
  assertEquals(stdout, input);
  assertEquals(exitCode, 7);
});

Deno.test("bootGuest fails at once when QEMU is killed, and leaves nothing behind", async () => {
  let directory = "";
  let pid = 0;
  let killed = 0;
  // The program prints when it is in the middle of its work.
  const stdout = (): void => {
    directory = guestDirectory(pid);
    killed = performance.now();
    Deno.kill(pid, "SIGKILL");
  };
  const error = await assertRejects(
    () =>
      boot("aarch64-virt", ["hang"], {
        onStart: (id) => pid = id,
        output: { stdout, stderr: () => {} },
      }),
    VireoError,
    "QEMU ended before the guest did",
  );
  assertEquals(error.code, "HOST_ERROR");
  assert(performance.now() - killed < 2000, "the error must come within 2 s");
  assertMatch(directory, /vireo-guest-/);
  assertThrows(() => Deno.statSync(directory), Deno.errors.NotFound);
});

Deno.test("bootGuest gives up a guest that does not come up in time, and leaves nothing", async () => {
  let directory = "";
  let pid = 0;
  const onStart = (id: number): void => {
    pid = id;
    directory = guestDirectory(id);
  };
  const error = await assertRejects(
    () => boot("aarch64-virt", ["hang"], { onStart, bootDeadline: 1 }),
    VireoError,
    "did not boot in time",
  );
  assertEquals(error.code, "TIMEOUT");
  assertThrows(() => Deno.statSync(directory), Deno.errors.NotFound);
  assertThrows(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
});

Deno.test("bootGuest ends the guest when it is aborted", async () => {
  const abort = new AbortController();
  const stdout = (): void => abort.abort(new Error("enough"));
  const output = { stdout, stderr: () => {} };
  await assertRejects(
    () => boot("aarch64-virt", ["hang"], { signal: abort.signal, output }),
    Error,
    "enough",
  );
});
