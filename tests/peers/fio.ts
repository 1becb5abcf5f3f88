import { assertEquals } from "@std/assert";
import { storageDaemon, temporaryFolder } from "../vhost_user/daemon.ts";
import { bootLinux, type GuestStep } from "../vhost_user/linux.ts";
import { FIO_WORKS } from "../vhost_user/linux_plan.ts";
import type { LinuxTools } from "../vhost_user/linux_rig.ts";
import { Served } from "../vhost_user/served.ts";

const MIB = 1024 * 1024;
/** MiB of each disk: a guest tells them apart by it. All of them stay in the page cache. */
const SIZES = { ours: 64, daemon: 65, own: 66 } as const;
const ROUNDS = 3;

/**
 * Measures, by fio in one guest and by turns, our served disk, that of QEMU's storage daemon and QEMU's own.
 *
 * @param qemu QEMU's program.
 * @param daemon Its storage daemon.
 * @returns A sentence for each work: our time over that of the others, as medians of the rounds' ratios.
 */
export async function compareByFio(
  tools: LinuxTools,
  qemu: string,
  daemon: string,
): Promise<string> {
  await using folder = temporaryFolder();
  const image = async (name: keyof typeof SIZES): Promise<string> => {
    const path = `${folder.path}/${name}.img`;
    await Deno.writeFile(path, new Uint8Array(SIZES[name] * MIB).fill(7));
    return path;
  };
  await using served = await Served.start("blk", { image: await image("ours") });
  await using other = await storageDaemon(await image("daemon"), `${folder.path}/s`, 1, daemon);
  const own = `driver=file,node-name=own,filename=${await image("own")}`;
  const steps = await bootLinux({
    qemu,
    patient: true,
    tools: tools.files,
    plan: {
      ...{ files: 0, rawAt: 0, raw: 0, fio: 0, vsock: 0, measure: ROUNDS },
      ...{ resize: false, rebind: false, scsi: false, gpu: false, input: false },
      ...{ unplug: false, reboot: false },
    },
    devices: [
      ...["-chardev", `socket,id=ours,path=${served.path}`],
      ...["-device", "vhost-user-blk-pci,chardev=ours,num-queues=1"],
      ...["-chardev", `socket,id=daemon,path=${other.socket}`],
      ...["-device", "vhost-user-blk-pci,chardev=daemon,num-queues=1"],
      ...["-blockdev", own, "-device", "virtio-blk-pci,drive=own,num-queues=1"],
    ],
  });
  return FIO_WORKS.map(([block, depth]) => {
    const of = (disk: keyof typeof SIZES): number[] => rates(steps, block, depth, SIZES[disk]);
    const [ours, daemon, own] = [of("ours"), of("daemon"), of("own")];
    const unit = block < 1024 ? `${block} KiB` : `${block / 1024} MiB`;
    return `${unit} at depth ${depth}: ${Math.round(median(ours))} a second, ${
      ratio(ours, daemon)
    } of the daemon's time, ${ratio(ours, own)} of QEMU's own`;
  }).join("; ");
}

/** Requests a second of a disk, round by round. */
function rates(
  steps: readonly GuestStep[],
  block: number,
  depth: number,
  size: number,
): number[] {
  const found = steps.filter((step) =>
    step.step === "measured" && step["block"] === block && step["depth"] === depth &&
    step["sectors"] === size * MIB / 512
  ).map((step) => step["perSecond"] as number);
  assertEquals(found.length, ROUNDS);
  return found;
}

/** The median of the ratios of turns that followed one another. */
function ratio(ours: readonly number[], theirs: readonly number[]): string {
  return median(ours.map((one, i) => theirs[i]! / one)).toFixed(2);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >>> 1]!;
}
