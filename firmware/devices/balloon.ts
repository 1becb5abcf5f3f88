import type { BalloonDevice } from "@vireo/emu";
import { type Balloon, balloonDriver } from "@vireo/drivers";
import { BALLOON_PAGE_SIZE, DeviceId } from "@vireo/hal";
import { parseSize, UsageError } from "../terminal/usage.ts";
import type { Vireo } from "../vireo.ts";
import type { BoardDevice } from "./board_device.ts";

const MIB = 1024 * 1024;

function report(balloon: Balloon, json: boolean): void {
  const { target, size, outOfMemory } = balloon;
  if (json) console.log(JSON.stringify({ target, size, outOfMemory }));
  else {
    const mib = (pages: number): string => `${pages * BALLOON_PAGE_SIZE / MIB} MiB`;
    console.log(`balloon has ${mib(size)}, the host wants ${mib(target)}`);
  }
}

/** Makes the host want a balloon of so many pages; QEMU counts what it leaves the guest instead. */
async function want(vireo: Vireo, pages: number): Promise<void> {
  const model = vireo.emulated?.extras.get("balloon") as BalloonDevice | undefined;
  if (model !== undefined) model.target = pages;
  else if (vireo.qmp !== undefined) {
    const { actual } = await vireo.qmp.execute("query-balloon") as { actual: number };
    const balloon = vireo.get(balloonDriver);
    const memory = actual + balloon.size * BALLOON_PAGE_SIZE;
    await vireo.qmp.execute("balloon", { value: memory - pages * BALLOON_PAGE_SIZE });
  } else throw new UsageError("balloon inflate: the host's side is not in reach of this target");
}

/** The memory balloon. */
export const BALLOON: BoardDevice = {
  name: "balloon",
  deviceId: DeviceId.BALLOON,
  summary: "the memory balloon: give the guest's memory to the host and take it back",
  driver: () => Promise.resolve(balloonDriver),
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with balloon: takes no value, got '${value}'`);
    const { BalloonDevice } = await import("@vireo/emu");
    return new BalloonDevice();
  },
  qemu: (_, id) => ({
    backends: [],
    devices: [
      `virtio-balloon-device,id=${id},deflate-on-oom=on,free-page-reporting=on`,
    ],
  }),
  commands: [
    {
      name: "info",
      summary: "say how large the balloon is, and should be",
      example: "vireo balloon info --json",
      async run(vireo, { flags }) {
        const balloon = vireo.get(balloonDriver);
        await balloon.settled({ signal: vireo.signal });
        report(balloon, flags["json"] === true);
      },
    },
    {
      name: "inflate",
      summary: "let the host ask for memory, and give it",
      arguments: [["<bytes>", "for example 16M"]],
      example: "vireo balloon inflate 16M --target qtest:aarch64-virt",
      async run(vireo, { flags, args }) {
        const bytes = parseSize(args[0]!, "bytes");
        const balloon = vireo.get(balloonDriver);
        await want(vireo, Math.floor(bytes / BALLOON_PAGE_SIZE));
        await balloon.settled({ signal: vireo.signal });
        report(balloon, flags["json"] === true);
      },
    },
  ],
};
