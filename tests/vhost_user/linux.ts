import { bundle, guestImage } from "@vireo/firmware/image";
import { bootGuest } from "../../firmware/guest/boot.ts";
import { kernelRoot, modulesFor, programsOfHost } from "./guest_files.ts";
import type { LinuxGuestPlan } from "./linux_plan.ts";

/** Linux's own drivers of the devices that can be served, and what they are used through. */
const MODULES = [
  ...["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_scsi", "sd_mod"],
  ...["virtio_input", "evdev", "vmw_vsock_virtio_transport"],
] as const;

/** A line that the guest said. */
export interface GuestStep {
  readonly step: string;
  readonly [name: string]: unknown;
}

/** Options of the boot. */
interface LinuxOptions {
  /** Plan of the guest. */
  readonly plan: Omit<LinuxGuestPlan, "modules">;
  /** QEMU's arguments for the served devices. */
  readonly devices: readonly string[];
  /** Another QEMU than the one in `PATH`. */
  readonly qemu?: string;
  /** Told of each step when the guest says it. */
  readonly step?: (step: GuestStep) => void;
}

/**
 * Boots Debian's kernel on a q35 in QEMU and has its own drivers work on served devices.
 *
 * @returns What the guest said.
 * @throws {Error} If the guest's program failed.
 */
export async function bootLinux({ plan, devices, qemu, step }: LinuxOptions): Promise<GuestStep[]> {
  const image = await guestImage("x86_64");
  const root = kernelRoot(image);
  const modules = await modulesFor(root, MODULES);
  const steps: GuestStep[] = [];
  const decoder = new TextDecoder();
  let rest = "";
  let errors = "";
  const { exitCode } = await bootGuest({
    board: "x86_64-q35",
    program: await bundle(new URL("./linux_guest.ts", import.meta.url).pathname),
    args: [JSON.stringify({ ...plan, modules: modules.map((path) => path.replace(/.*\//, "")) })],
    modules,
    extra: await programsOfHost(["mke2fs", "e2fsck", "ip"]),
    hugepages: 0,
    qemu,
    devices,
    sharedMemory: true,
    qemuArgs: plan.reboot ? ["-action", "reboot=reset"] : [],
    deadline: 300_000,
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
