import { VireoError } from "@vireo/hal";
import type { Arch } from "../image/mod.ts";
import { hostTickRate } from "./_ticks.ts";

/** How QEMU boots Linux on a board. */
export interface GuestBoard {
  /** The board's name, as in `qemu:<board>`. */
  readonly name: string;
  /** The processor. */
  readonly arch: Arch;
  /** The QEMU program. */
  readonly qemu: string;
  /** `-machine`. */
  readonly machine: string;
  /** `-cpu` under TCG; the host's own processor under KVM. */
  readonly cpu: string;
  /** The serial line, as the guest names it. */
  readonly line: string;
  /** Modules of the kernel that the guest has as `/vireo/<name>`, by path in the kernel's package. */
  readonly modules?: readonly string[];
  /** Words for the kernel command line. */
  readonly kernelArgs: (accel: string) => readonly string[];
}

/**
 * Linux measures the time stamp counter against the PIT, fails about one time in ten under TCG, and
 * then hangs, for there is no other timer. What TCG shows is the host's counter: say its rate.
 */
function tscRate(accel: string): readonly string[] {
  return accel === "tcg" ? [`tsc_early_khz=${hostTickRate()}`, "tsc=reliable"] : [];
}

/** Modules that hand interrupts of PCI functions to a process; loaded in this order. */
const UIO_MODULES = ["kernel/drivers/uio/uio.ko", "kernel/drivers/uio/uio_pci_generic.ko"] as const;

/**
 * Without the promises that `rep movsb` and `rep stosb` are fast: Linux and the C library then copy and clear
 * memory by them, which TCG does byte by byte. A boot takes 15% less of the host's processor without. And without
 * what protects a kernel from its programs (SMAP: TCG ends its piece of code at each `stac`), and a fifth level of page
 * tables to walk: a guest has one program, which may do everything. That is another 6%.
 */
const X86_64_CPU = "max,-erms,-fsrm,-smap,-smep,-umip,-pku,-la57";

const AARCH64_VIRT: GuestBoard = {
  name: "aarch64-virt",
  arch: "aarch64",
  qemu: "qemu-system-aarch64",
  machine: "virt",
  // Without pointer authentication, which TCG computes slowly, and vectors that the kernel would save. Linux guards an
  // older model against its speculation at each entry: a boot takes 15% less of the host's processor on this one.
  cpu: "max,pauth=off,sve=off,sme=off",
  line: "ttyAMA0",
  kernelArgs: () => [],
};

/** The boards that Linux and Deno run on. */
export const GUEST_BOARDS: readonly GuestBoard[] = [
  {
    name: "x86_64-microvm",
    arch: "x86_64",
    qemu: "qemu-system-x86_64",
    machine: "microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on",
    cpu: X86_64_CPU,
    line: "ttyS0",
    kernelArgs: tscRate,
  },
  {
    name: "x86_64-q35",
    arch: "x86_64",
    qemu: "qemu-system-x86_64",
    machine: "q35,sata=off,smbus=off,i8042=off,vmport=off,usb=off",
    cpu: X86_64_CPU,
    line: "ttyS0",
    modules: UIO_MODULES,
    kernelArgs: tscRate,
  },
  AARCH64_VIRT,
  // The same machine: what differs is where devices are put.
  { ...AARCH64_VIRT, name: "aarch64-virt-pci", modules: UIO_MODULES },
];

/**
 * Finds the guest board of a name.
 *
 * @throws {VireoError} `BAD_TARGET` If Linux and Deno do not run on a board of that name.
 */
export function findGuestBoard(name: string): GuestBoard {
  const board = GUEST_BOARDS.find((known) => known.name === name);
  if (board !== undefined) return board;
  throw new VireoError("BAD_TARGET", "Cannot boot a guest on this board", {
    seen: name,
    expected: GUEST_BOARDS.map((known) => known.name).join(" or "),
  });
}
