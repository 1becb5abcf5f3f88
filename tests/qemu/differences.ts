import { type QemuVersion, qemuVersion } from "./version.ts";

/** Something that QEMU 10 does otherwise than QEMU 7.2. */
interface QemuDifference {
  /** Subject of the difference. */
  readonly what: string;
  /** Behaviour of QEMU 7.2. */
  readonly before: string;
  /** Behaviour of QEMU from `major` on. */
  readonly since: string;
  /** The first major version that is known to do it; 7.2 is known not to. */
  readonly major: number;
  /** The first version of that series that is known to do as 7.2 again, as `[10, 0, 13]`. */
  readonly until?: readonly [major: number, minor: number, micro: number];
  /** Why, and what it means for drivers. */
  readonly reason: string;
}

/** Name of a difference. */
type QemuDifferenceName =
  | "VLANS"
  | "CONSOLE_INTERRUPT"
  | "QID_PATH"
  | "NO_AKCIPHER"
  | "UDMABUF"
  | "MULTITOUCH"
  | "USO"
  | "FRONT_END_BITS"
  | "FRONT_END_VECTORS";

/** Everything that the tests expect otherwise of one version than of another. */
export const QEMU_DIFFERENCES: Readonly<Record<QemuDifferenceName, QemuDifference>> = {
  VLANS: {
    what: "net: VLAN table after features with CTRL_VLAN were accepted",
    before: "empty",
    since: "all 4096 VLANs; empty again in 10.0.13",
    major: 10,
    until: [10, 0, 13],
    reason:
      "A fault: QEMU clears the table only when the feature changes; frames that need not pass do",
  },
  CONSOLE_INTERRUPT: {
    what: "console on virtio-mmio: InterruptStatus after DRIVER_OK",
    before: "0",
    since: "bit 0 (used buffer), with nothing used",
    major: 10,
    reason: "Eventfds are used under TCG too and notify every queue at the start: " +
      "the differential test turns them off (ioeventfd=off), drivers find an empty ring",
  },
  QID_PATH: {
    what: "9p: qid.path",
    before: "the inode's number",
    since: "a number that stands for device and inode",
    major: 10,
    reason: "`multidevs=remap` is the default: numbers are unique over several file systems",
  },
  NO_AKCIPHER: {
    what: "crypto: service AKCIPHER (RSA)",
    before: "offered",
    since: "not offered",
    major: 10,
    reason: "Debian builds it with a library that has no RSA for cryptodev",
  },
  USO: {
    what: "net: HOST_USO, GUEST_USO4 and GUEST_USO6",
    before: "unknown",
    since: "offered with a tap device, if the host's kernel cuts datagrams (Linux 6.2)",
    major: 10,
    reason: "Newer than 7.2; without the host's help QEMU cuts nothing",
  },
  UDMABUF: {
    what: "gpu: message where blobs cannot be had",
    before: "cannot enable blob resources without udmabuf",
    since: "need rutabaga or udmabuf for blob resources",
    major: 10,
    reason: "There is a second way to have them",
  },
  MULTITOUCH: {
    what: "input: virtio-multitouch",
    before: "not a device",
    since: "a touch screen of ten fingers",
    major: 10,
    reason: "A new device; `--with input=multitouch` is for the emulator alone",
  },
  FRONT_END_BITS: {
    what: "vhost-user: ring features of a back end that offers neither INDIRECT_DESC nor EVENT_IDX",
    before: "both are accepted without an offer",
    since: "what is offered",
    major: 10,
    reason: "A fault: QEMU set the bits itself; a back end must honour them all the same",
  },
  FRONT_END_VECTORS: {
    what: "vhost-user: net on PCI, a driver that asks for pending vectors",
    before: "QEMU ends by a null pointer",
    since: "they are read",
    major: 10,
    reason: "A fault: before, such a device must have no vectors (`vectors=0`)",
  },
};

let running: QemuVersion | undefined;

/**
 * Tells whether the QEMU on the path is of the newer kind in some respect.
 *
 * @throws {Error} If there is no QEMU.
 */
export function isNewer(name: QemuDifferenceName): boolean {
  running ??= qemuVersion("qemu-system-aarch64");
  if (running === undefined) throw new Error("Cannot find qemu-system-aarch64: run make packages");
  const { major, until } = QEMU_DIFFERENCES[name];
  return running.major >= major && (until === undefined || isBefore(running, until));
}

function isBefore(version: QemuVersion, [major, minor, micro]: readonly number[]): boolean {
  const numbers = [version.major - major!, version.minor - minor!, version.micro - micro!];
  return (numbers.find((difference) => difference !== 0) ?? 0) < 0;
}
