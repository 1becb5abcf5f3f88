import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { VireoError } from "@vireo/hal";
import { bootGuest, type BootOptions } from "../../firmware/guest/mod.ts";
import { bundle } from "../../firmware/image/mod.ts";
import { GUEST_LIMIT } from "../cli_helper.ts";
import type { Ending, PciPhase } from "../guest_test_program.ts";

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

/** What the program prints first, of one virtio-rng on virtio-mmio. */
function registers(args: readonly string[], version: number): unknown {
  return {
    args,
    devices: [{ magic: 0x74726976, version, id: 4 }],
    dma: { aligned: true, zeroed: true },
  };
}

const limit = { timeout: GUEST_LIMIT };

// Each way to end is a boot of a board of its own; matrix_test.ts has every board with each version, and
// cli_test.ts a guest whose QEMU is killed.
Deno.test(
  "bootGuest on aarch64-virt, version 2: registers, standard input, an exit from anywhere",
  limit,
  async () => {
    const ending: Ending = "copies its input and exits with 7";
    const input = "line\n".repeat(2000);
    const stdin = new Blob([input]).stream();
    const { exitCode, stdout, stderr } = await boot("aarch64-virt", [ending], { stdin });
    const end = stdout.indexOf("\n") + 1;
    assertEquals(JSON.parse(stdout.slice(0, end)), registers([ending], 2));
    assertEquals(stdout.slice(end), input);
    assertEquals([exitCode, stderr], [7, "to stderr\n"]);
  },
);

Deno.test(
  "bootGuest on x86_64-microvm, version 1: registers, an error with the line of its source",
  limit,
  async () => {
    const args = ["throws" satisfies Ending, "a b", "ü\n"];
    const { exitCode, stdout, stderr } = await boot("x86_64-microvm", args, { legacy: true });
    assertEquals([exitCode, JSON.parse(stdout)], [1, registers(args, 1)]);
    assertStringIncludes(stderr, "to stderr\nUncaught Error: thrown in the guest");
    assertMatch(stderr, /at fail \(file:\/\/\/.*\/tests\/guest_test_program\.ts:\d+:\d+\)/);
  },
);

/** Linux's own driver of virtio on PCI, after what it needs. */
const VIRTIO_PCI = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"]
  .concat("virtio_pci").map((name) => `kernel/drivers/virtio/${name}.ko`);
/** Functions with the modern interface, and with another one too or alone. */
const MODERN = ["0000:00:04.0", "0000:00:06.0"];
const OTHERS = ["0000:00:03.0", "0000:00:05.0"];
// Each kind of function and of interrupt once; Linux's driver is loaded after the first phase, and has those
// of the second one.
const PCI = [
  ["x86_64-q35", "legacy", "disable-modern=on,disable-legacy=off", "INTx", "poll"],
  ["aarch64-virt-pci", "transitional", "disable-legacy=off", "poll", "INTx"],
] as const;
for (const [board, kind, property, first, second] of PCI) {
  const phases: PciPhase[] = [
    { kind, poll: first === "poll", functions: OTHERS, modules: [] },
    {
      kind: "modern",
      poll: second === "poll",
      functions: MODERN,
      modules: VIRTIO_PCI.map((path) => path.replace(/.*\//, "/vireo/")),
    },
  ];
  const name = `${kind} by ${first}, modern by ${second}, taken from Linux`;
  Deno.test(`bootGuest drives PCI of ${board}: ${name}`, limit, async () => {
    const { stdout, stderr, exitCode } = await boot(board, ["pci", JSON.stringify(phases)], {
      modules: VIRTIO_PCI,
      transitional: kind === "transitional",
      devices: [
        ...[3, 5].flatMap((slot) => ["-device", `virtio-rng-pci,addr=${slot},${property}`]),
        ...[4, 6].flatMap((slot) => ["-device", `virtio-rng-pci,addr=${slot},disable-legacy=on`]),
      ],
    });
    assertEquals([exitCode, stderr], [3, ""]);
    const found = stdout.trim().split("\n").map((line) => JSON.parse(line));
    const builtIn = found[0].builtIn;
    const expected = phases.map(({ kind, poll, functions, modules }) => {
      const devices = functions.map((name) => ({
        name,
        id: kind === "modern" ? 0x1044 : 0x1005,
        assigned: true,
        restored: true,
        polled: poll,
        driver: builtIn || modules.length > 0 ? "virtio-pci" : null,
      }));
      return { builtIn, devices };
    });
    assertEquals(found, expected);
  });
}

const EARLY = [
  [
    "gives up a guest that does not come up in time",
    () => ({ bootDeadline: 1 }),
    ["Timed out after 1 ms waiting for the guest to boot (x86_64-microvm)", "TIMEOUT"],
  ],
  [
    "ends a guest that is aborted as soon as it has started",
    ({ signal }: AbortController) => ({ signal }),
    ["enough", undefined],
  ],
] as const;
for (const [what, options, expected] of EARLY) {
  Deno.test(`bootGuest ${what}, and leaves nothing`, limit, async () => {
    const abort = new AbortController();
    let directory = "";
    let pid = 0;
    const onStart = (id: number): void => {
      pid = id;
      directory = guestDirectory(id);
      abort.abort(new Error("enough"));
    };
    const error = await assertRejects(
      () => boot("x86_64-microvm", ["hangs"], { onStart, ...options(abort) }),
      Error,
    );
    const code = error instanceof VireoError ? error.code : undefined;
    assertEquals([error.message, code], [...expected]);
    assertThrows(() => Deno.statSync(directory), Deno.errors.NotFound);
    assertThrows(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
  });
}
