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
import type { Ending, PciPhase } from "./test_program.ts";

/** Longer than any of these guests needs, even on a busy machine. */
const DEADLINE = 300_000;

/** The program of these tests: does what its first argument says. */
const PROGRAM = new URL("./test_program.ts", import.meta.url).pathname;

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

const limit = { timeout: GUEST_LIMIT };

/** Linux's own driver of virtio on PCI, after what it needs. */
const VIRTIO_PCI = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"]
  .concat("virtio_pci").map((name) => `kernel/drivers/virtio/${name}.ko`);
/** Functions with the modern interface, and with another one too or alone. */
const MODERN = ["0000:00:04.0", "0000:00:06.0"];
const OTHERS = ["0000:00:03.0", "0000:00:05.0"];

interface Case {
  readonly board: string;
  readonly kind: PciPhase["kind"];
  /** Properties of the functions that are not modern. */
  readonly property: string;
  /** How interrupts come to the functions that are not modern, and to the modern ones. */
  readonly ways: readonly ["INTx" | "poll", "INTx" | "poll"];
  readonly ending: Ending;
  readonly more: readonly string[];
  /** Virtio-mmio devices, by the registers that the program reads. */
  readonly slots: readonly {
    readonly magic: number;
    readonly version: number;
    readonly id: number;
  }[];
  readonly input?: string;
}

// Each kind of function and of interrupt once, and each way to end; Linux's driver is loaded after the first
// phase, and has those of the second one. A boot is what takes long here, so that each shows several things:
// matrix_test.ts has every board with each version of the registers, and cli_test.ts a guest whose QEMU is killed.
const CASES: readonly Case[] = [
  {
    board: "x86_64-q35",
    kind: "legacy",
    property: "disable-modern=on,disable-legacy=off",
    ways: ["INTx", "poll"],
    ending: "throws",
    more: ["a b", "ü\n"],
    slots: [],
  },
  {
    board: "aarch64-virt-pci",
    kind: "transitional",
    property: "disable-legacy=off",
    ways: ["poll", "INTx"],
    ending: "copies its input and exits with 7",
    more: [],
    slots: [{ magic: 0x74726976, version: 2, id: 4 }],
    input: "line\n".repeat(2000),
  },
];

for (const { board, kind, property, ways: [first, second], ending, more, slots, input } of CASES) {
  const phases: PciPhase[] = [
    { kind, poll: first === "poll", functions: OTHERS, modules: [] },
    {
      kind: "modern",
      poll: second === "poll",
      functions: MODERN,
      modules: VIRTIO_PCI.map((path) => path.replace(/.*\//, "/vireo/")),
    },
  ];
  const name =
    `${kind} PCI by ${first}, modern by ${second}, taken from Linux; a program that ${ending}`;
  Deno.test(`bootGuest on ${board}: ${name}`, limit, async () => {
    const args = [ending, JSON.stringify(phases), ...more];
    const { stdout, stderr, exitCode } = await boot(board, args, {
      modules: VIRTIO_PCI,
      transitional: kind === "transitional",
      devices: [
        ...slots.flatMap(() => ["-device", "virtio-rng-device"]),
        ...[3, 5].flatMap((slot) => ["-device", `virtio-rng-pci,addr=${slot},${property}`]),
        ...[4, 6].flatMap((slot) => ["-device", `virtio-rng-pci,addr=${slot},disable-legacy=on`]),
      ],
      ...input === undefined ? {} : { stdin: new Blob([input]).stream() },
    });
    const lines = stdout.split("\n");
    const [registers, ...found] = lines.splice(0, 1 + phases.length).map((line) =>
      JSON.parse(line)
    );
    assertEquals(registers, { args, devices: slots, dma: { aligned: true, zeroed: true } });
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
    assertEquals(lines.join("\n"), input ?? "");
    if (ending === "throws") {
      assertEquals(exitCode, 1);
      assertStringIncludes(stderr, "to stderr\nUncaught Error: thrown in the guest");
      assertMatch(stderr, /at fail \(file:\/\/\/.*\/tests\/guest\/test_program\.ts:\d+:\d+\)/);
    } else assertEquals([exitCode, stderr], [7, "to stderr\n"]);
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
