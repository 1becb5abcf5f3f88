import { bundle, type CpioEntry, guestImage } from "@vireo/firmware/image";
import { bootGuest } from "../../firmware/guest/boot.ts";
import { kernelRoot, moduleFiles, modulesFor, programsOfHost } from "./guest_files.ts";
import type { LinuxGuestPlan } from "./linux_plan.ts";

/** Linux's own drivers of the devices that can be served, and what they are used through. */
const MODULES = [
  ...["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_scsi", "sd_mod"],
  ...["virtio_input", "evdev", "vmw_vsock_virtio_transport", "af_packet", "virtio_gpu"],
  // Built into the kernels of clouds only.
  ...["crc32c_generic", "ext4"],
] as const;

/** A line that the guest said. */
export interface GuestStep {
  readonly step: string;
  readonly [name: string]: unknown;
}

/** Another kernel than the guests' own. */
export interface LinuxKernel {
  /** Its file. */
  readonly image: string;
  /** Where its package is unpacked. */
  readonly root: string;
}

/** Options of the boot. */
interface LinuxOptions {
  /** Plan of the guest. */
  readonly plan: Omit<LinuxGuestPlan, "modules">;
  /** QEMU's arguments for the served devices. */
  readonly devices: readonly string[];
  /** Another QEMU than the one in `PATH`. */
  readonly qemu?: string;
  readonly kernel?: LinuxKernel | undefined;
  /** Whether nobody waits for the guest, as for those of `make peers`, which run for long on any machine. */
  readonly patient?: boolean | undefined;
  /** More arguments of QEMU. */
  readonly qemuArgs?: readonly string[];
  /** Another processor than the board's. */
  readonly cpu?: string | undefined;
  /** More files of the guest: programs that this machine may not have. */
  readonly tools?: readonly CpioEntry[];
  /** Told of each step when the guest says it. */
  readonly step?: (step: GuestStep) => void;
}

/**
 * Boots Debian's kernel on a q35 in QEMU and has its own drivers work on served devices.
 *
 * @returns What the guest said.
 * @throws {Error} If the guest's program failed.
 */
export async function bootLinux(
  { plan, devices, qemu, kernel, cpu, qemuArgs = [], patient = false, tools = [], step }:
    LinuxOptions,
): Promise<GuestStep[]> {
  const image = await guestImage("x86_64");
  const modules = await modulesFor(kernel?.root ?? kernelRoot(image), MODULES);
  const programs = [...await programsOfHost(["mke2fs", "e2fsck", "ip"]), ...tools];
  const steps: GuestStep[] = [];
  const decoder = new TextDecoder();
  let rest = "";
  let errors = "";
  const { exitCode } = await bootGuest({
    board: "x86_64-q35",
    program: await bundle(new URL("./linux_guest.ts", import.meta.url).pathname),
    args: [JSON.stringify({ ...plan, modules: modules.map((path) => path.replace(/.*\//, "")) })],
    // The modules of another kernel are not in the image's package.
    ...kernel === undefined
      ? { modules, extra: programs }
      : { kernel: kernel.image, extra: [...programs, ...await moduleFiles(kernel.root, modules)] },
    hugepages: 0,
    // On a busy machine no tick may come while the kernel looks for one, and it panics.
    kernelArgs: ["no_timer_check"],
    // A root in memory takes half of it, and what does not fit is left out without a word.
    ...tools.length > 0 ? { memory: 2048 } : {},
    qemu,
    devices,
    sharedMemory: true,
    qemuArgs: [
      ...plan.reboot ? ["-action", "reboot=reset"] : [],
      ...cpu === undefined ? [] : ["-cpu", cpu],
      ...qemuArgs,
    ],
    ...patient ? { bootDeadline: 600_000, deadline: 1_800_000 } : { deadline: 300_000 },
    output: {
      stdout: (bytes) => {
        const lines = (rest + decoder.decode(bytes)).split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          const said: GuestStep = JSON.parse(line);
          steps.push(said);
          step?.(said);
        }
      },
      stderr: (bytes) => void (errors += new TextDecoder().decode(bytes)),
    },
  });
  if (exitCode !== 0) throw new Error(`the guest ended with ${exitCode}: ${errors}`);
  return steps;
}
