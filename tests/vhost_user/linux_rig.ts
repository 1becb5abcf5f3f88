import { assert, assertEquals } from "@std/assert";
import type { Picture } from "@vireo/emu/gpu";
import type { CpioEntry } from "@vireo/firmware/image";
import { Qmp } from "@vireo/hal/qmp";
import { ip } from "../net/ip_tool.ts";
import { noise } from "../noise.ts";
import { QEMU_DIFFERENCES, qemuVersion } from "../qemu/mod.ts";
import { temporaryFolder } from "./daemon.ts";
import { bootLinux, type GuestStep, type LinuxKernel } from "./linux.ts";
import { type LinuxGuestPlan, MIB, picture, stamp } from "./linux_plan.ts";
import { Served } from "./served.ts";
import { wait } from "./wait.ts";

/** The wire between guest and host: another one in each process, as rigs of several run side by side. */
const WIRE = `10.${200 + (Deno.pid >> 8) % 50}.${Deno.pid % 256}`;
/** Addresses on it. */
const OWN = `${WIRE}.2`;
const HOST = `${WIRE}.1`;
const LEASED = `${WIRE}.100`;
const MAC = "52:54:00:12:34:56";
/** Sectors by which the disk shrinks while it is mounted. */
const SHRUNK = 2048;
/** Virtio's status when all is well: acknowledged, a driver, its features, and ready. */
const READY = 15;
/** Drivers that Linux must have bound, by device id. */
const BOUND = [
  { id: 1, driver: "virtio_net", status: READY },
  { id: 2, driver: "virtio_blk", status: READY },
  { id: 4, driver: "virtio_rng", status: READY },
  { id: 8, driver: "virtio_scsi", status: READY },
  { id: 19, driver: "vmw_vsock_virtio_transport", status: READY },
];

const GRAPHICS = { id: 16, driver: "virtio_gpu", status: READY };
const KEYBOARD = { id: 18, driver: "virtio_input", status: READY };
/** QEMU's names of a disk that is unplugged, and of the port where it is. */
const DISK = "disk";
const PORT = "port0";
/** QEMU 10's gpu accepts RING_RESET, which is between its guest and itself; it is honoured, and reported. */
const QEMU_GPU_BITS = "bits that are not offered: 40";
/** Rows of the screen that the kernel writes its text to. */
const TEXT_ROWS = 64;
/** The key that is pressed: KEY_A. */
const KEY = 30;

/** How much a guest does. */
type LinuxWork = Pick<LinuxGuestPlan, "files" | "rawAt" | "raw" | "vsock" | "reboot"> & {
  /** MiB by TCP, each way. */
  readonly tcp: number;
  /** Connections at a time; 1 by default. */
  readonly streams?: number;
  /** MiB by fio; needs {@linkcode LinuxTools}. */
  readonly fio?: number;
  /** Whether the disk is unplugged and plugged again. */
  readonly unplug?: boolean;
};

/** Programs that this machine may not have. */
export interface LinuxTools {
  /** Files of the guest: `fio`, and `busybox` with `udhcpc`. */
  readonly files: readonly CpioEntry[];
  /** This machine's busybox, with `udhcpd`. */
  readonly busybox: string;
}

/** A machine that a guest boots on. */
interface LinuxMachine {
  /** The QEMU program. */
  readonly qemu?: string;
  /** Another kernel than the guests' own. */
  readonly kernel?: LinuxKernel;
  /** Another processor than the board's. */
  readonly cpu?: string | undefined;
  /** Whether nobody waits for it. */
  readonly patient?: boolean;
}

/** Options of {@linkcode LinuxRig.start}. */
interface LinuxRigOptions {
  /** Queue pairs of the network device; 1 by default. */
  readonly pairs?: number;
  /** Whether there are a graphics device and a keyboard: QEMU before 10 has front ends for them with KVM only. */
  readonly desktop?: boolean;
  /** Entries of the network device's queues; QEMU's 256 by default. */
  readonly ring?: number;
  /** With them the guest asks for its address by DHCP. */
  readonly tools?: LinuxTools | undefined;
}

/** Script of udhcpc, which keeps the address of a lease. */
const LEASE_SCRIPT = `#!/bin/busybox sh
[ "$1" = bound ] && echo "$ip" > /lease
exit 0
`;

/** A disk, a network device, entropy, SCSI and sockets that are served to guests with Linux's own drivers. */
export class LinuxRig implements AsyncDisposable {
  readonly #served: Served;
  readonly #cleanup: AsyncDisposableStack;
  readonly #image: string;
  readonly #size: number;
  readonly #port: number;
  readonly #paths: ReadonlyMap<string, string>;
  readonly #options: LinuxRigOptions;
  readonly #keyboard: Served | undefined;
  readonly #graphics: Served | undefined;

  private constructor(
    served: Served,
    cleanup: AsyncDisposableStack,
    disk: {
      readonly image: string;
      readonly size: number;
      readonly keyboard: Served | undefined;
      readonly graphics: Served | undefined;
    },
    port: number,
    paths: ReadonlyMap<string, string>,
    options: LinuxRigOptions,
  ) {
    this.#served = served;
    this.#cleanup = cleanup;
    this.#image = disk.image;
    this.#size = disk.size;
    this.#keyboard = disk.keyboard;
    this.#graphics = disk.graphics;
    this.#port = port;
    this.#paths = paths;
    this.#options = options;
  }

  /**
   * Serves the devices. Needs the rights to set up a network interface.
   *
   * @param size MiB of the disk.
   */
  static async start(size: number, options: LinuxRigOptions = {}): Promise<LinuxRig> {
    await using cleanup = new AsyncDisposableStack();
    const folder = cleanup.use(temporaryFolder());
    const image = `${folder.path}/disk.img`;
    await Deno.writeFile(image, new Uint8Array(0));
    await Deno.truncate(image, size * MIB);
    const tap = `vireov${Deno.pid % 100_000}`;
    const served = cleanup.use(await Served.start("net", { tap, pairs: options.pairs ?? 1 }));
    const paths = new Map([["net", served.path]]);
    for (const name of ["rng", "scsi", "vsock"]) paths.set(name, await served.add(name));
    const start = async (name: string): Promise<Served> => {
      const served = cleanup.use(await Served.start(name));
      paths.set(name, served.path);
      return served;
    };
    const graphics = options.desktop ? await start("gpu") : undefined;
    const keyboard = options.desktop ? await start("input") : undefined;
    // Questions are about the last one.
    paths.set("blk", await served.add("blk", { image }));
    await ip("addr", "add", `${HOST}/24`, "dev", tap);
    await ip("link", "set", tap, "up");
    if (options.tools !== undefined) {
      const { busybox } = options.tools;
      cleanup.use(await dhcpServer(busybox, folder.path, tap));
    }
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const echoes = echo(listener);
    cleanup.defer(async () => {
      listener.close();
      await echoes;
    });
    return new LinuxRig(
      served,
      cleanup.move(),
      { image, size, keyboard, graphics },
      listener.addr.port,
      paths,
      options,
    );
  }

  /**
   * Boots a guest, holds what it saw to what must be, and the image to what it wrote.
   *
   * @param work How much it does.
   * @param machine The QEMU program, the one in `PATH` by default, and what it boots.
   * @returns What the guest said.
   */
  async boot(work: LinuxWork, machine: LinuxMachine = {}): Promise<GuestStep[]> {
    const { qemu = "qemu-system-x86_64", kernel, cpu, patient } = machine;
    const { tcp, streams = 1, fio = 0, unplug = false, ...rest } = work;
    const { pairs = 1, tools, ring } = this.#options;
    const before = this.#served.events.length;
    const sectors = this.#size * MIB / 512;
    await this.#served.call("resize", sectors);
    await using folder = temporaryFolder();
    const monitor = `${folder.path}/qmp`;
    const asides: Promise<void>[] = [];
    const failed: unknown[] = [];
    const aside = (work: Promise<void>): void => {
      asides.push(work.catch((error) => void failed.push(error)));
    };
    const steps = await bootLinux({
      qemu,
      kernel,
      cpu,
      patient,
      qemuArgs: unplug ? ["-qmp", `unix:${monitor},server=on,wait=off`] : [],
      tools: tools === undefined ? [] : [...tools.files, {
        kind: "file",
        path: "bin/lease",
        data: new TextEncoder().encode(LEASE_SCRIPT),
        executable: true,
      }],
      plan: {
        ...rest,
        fio,
        unplug,
        measure: 0,
        resize: true,
        rebind: true,
        scsi: true,
        gpu: this.#graphics !== undefined,
        input: this.#keyboard !== undefined,
        tcp: {
          ...{ own: OWN, host: HOST, port: this.#port, size: tcp, streams, pairs },
          dhcp: tools !== undefined,
          ring: ring !== undefined,
        },
      },
      devices: this.#devices(qemuVersion(qemu)?.major ?? 0, unplug),
      step: (said) => {
        const { step, before } = said;
        if (step === "drawn") aside(this.#checkPicture(said));
        // A guest waits for the key, so the picture is looked at while it is there.
        if (step === "input") void Promise.all(asides).then(() => this.#tap());
        if (step === "unplug") aside(this.#replug(monitor));
        if (step !== "resize") return;
        const next = before === sectors ? sectors - SHRUNK : sectors;
        void this.#served.call("resize", next);
      },
    }).catch((error) => {
      // The guest may have waited for what the host could not do.
      throw failed.length === 0 ? error : new AggregateError([error, ...failed], error.message);
    });
    await Promise.all(asides);
    if (failed.length > 0) throw failed[0];
    // Those of another thread have events of their own; a disk that is plugged again leaves twice.
    const others = [this.#keyboard, this.#graphics].filter((one) => one !== undefined);
    const count = this.#paths.size - others.length + (unplug ? 1 : 0);
    const gone = (): number =>
      this.#served.events.slice(before).filter(({ kind }) => kind === "disconnected").length;
    await wait("QEMU to leave every device", () => gone() === count);
    this.#checkSteps(steps, work);
    // QEMU 10.0.13 has queues of 256 and 1024, for which it keeps notes of 128 requests: that is said, and they run.
    const wrong = [this.#served, ...others].flatMap(({ events }) =>
      events.slice(events === this.#served.events ? before : 0)
    ).filter((event) =>
      !(event.kind === "connected" || event.kind === "unnoted" ||
        event.kind === "disconnected" && event.reason === undefined ||
        event.kind === "violation" && event.violation.reason === QEMU_GPU_BITS)
    );
    assertEquals(wrong, []);
    await this.#checkImage(work);
    return steps;
  }

  /** Ends the servers and removes the image. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  async #tap(): Promise<void> {
    await this.#keyboard!.call("tap", KEY);
  }

  /** Holds the screen of the graphics device to what a guest drew, the rows of the kernel's text excepted. */
  async #checkPicture({ width, height }: GuestStep): Promise<void> {
    const pixels = (width as number) * (height as number);
    const drawn = picture(pixels);
    const from = (width as number) * TEXT_ROWS;
    let wrong = -1;
    for (const end = performance.now() + 60_000; performance.now() < end && wrong !== 0;) {
      const screen = await this.#graphics!.call("screen") as Picture | undefined;
      wrong = pixels;
      if (screen?.width !== width || screen?.height !== height) continue;
      wrong = 0;
      for (let i = from; i < pixels; i++) {
        const [r, g, b] = screen!.rgba.subarray(4 * i, 4 * i + 3);
        if (b !== drawn[4 * i] || g !== drawn[4 * i + 1] || r !== drawn[4 * i + 2]) wrong++;
      }
    }
    assertEquals(wrong, 0, "pixels are not what the guest drew");
  }

  /** Unplugs the disk, and plugs it again by another connection. */
  async #replug(monitor: string): Promise<void> {
    using connection = await Deno.connect({ transport: "unix", path: monitor });
    const qmp = new Qmp(connection.writable, connection.readable);
    const options = { deadline: 60_000 };
    await qmp.start(options);
    const deleted = qmp.events("DEVICE_DELETED");
    await qmp.execute("device_del", { id: DISK }, options);
    for await (const { data } of deleted) if (data.device === DISK) break;
    await qmp.execute("chardev-remove", { id: "blk" }, options);
    const addr = { type: "unix", data: { path: this.#paths.get("blk") } };
    const backend = { type: "socket", data: { addr, server: false } };
    await qmp.execute("chardev-add", { id: "again", backend }, options);
    const front = { driver: "vhost-user-blk-pci", id: DISK, bus: PORT, chardev: "again" };
    await qmp.execute("device_add", front, options);
  }

  #devices(major: number, unplug: boolean): string[] {
    const vectors = major < QEMU_DIFFERENCES.FRONT_END_VECTORS.major ? ",vectors=0" : "";
    const { pairs = 1, ring } = this.#options;
    const [queues, mq] = pairs === 1 ? ["", ""] : [
      `,queues=${pairs}`,
      vectors === "" ? `,mq=on,vectors=${2 * pairs + 2}` : ",mq=on",
    ];
    const sizes = ring === undefined ? "" : `,rx_queue_size=${ring},tx_queue_size=${ring}`;
    const net = `virtio-net-pci,netdev=n0,mac=${MAC}${mq}${vectors}${sizes}`;
    const port = unplug ? ["-device", `pcie-root-port,id=${PORT},chassis=1,slot=1`] : [];
    return [
      ...port,
      ...[...this.#paths].flatMap(([name, path]) => [
        ...["-chardev", `socket,id=${name},path=${path}`],
        ...name === "net" ? ["-netdev", `vhost-user,id=n0,chardev=net${queues}`, "-device", net] : [
          "-device",
          `vhost-user-${name}-pci,chardev=${name}${
            unplug && name === "blk" ? `,id=${DISK},bus=${PORT}` : ""
          }`,
        ],
      ]),
    ];
  }

  #checkSteps(steps: readonly GuestStep[], work: LinuxWork): void {
    const of = (name: string): GuestStep[] => steps.filter(({ step }) => step === name);
    const boots = work.reboot ? 2 : 1;
    const every = (name: string, expected: Readonly<Record<string, unknown>>): void => {
      const seen = of(name).map((step) =>
        Object.fromEntries(Object.keys(expected).map((key) => [key, step[key]]))
      );
      assertEquals([name, seen], [name, Array(boots).fill(expected)]);
    };
    const keyboard = this.#keyboard === undefined ? [] : [KEYBOARD];
    const graphics = this.#graphics === undefined ? [] : [GRAPHICS];
    const found = [...BOUND, ...graphics, ...keyboard].sort((a, b) => a.id - b.id);
    every("devices", { found });
    if (this.#keyboard !== undefined) every("keys", { keys: [[KEY, 1], [KEY, 0]] });
    every("rng", { distinct: 256 });
    every("raw", { size: work.raw, wrong: 0 });
    every("files", { size: work.files, wrong: 0 });
    const { pairs = 1, tools, ring } = this.#options;
    every("tcp", { mac: MAC, received: work.tcp * MIB, wrong: 0 });
    if (ring !== undefined) every("rings", { receive: ring, send: ring });
    if (pairs > 1) every("channels", { most: pairs, combined: pairs });
    if (tools !== undefined) every("dhcp", { address: LEASED });
    if (work.fio !== undefined) every("fio", { size: work.fio });
    every("scsi", { equal: true });
    every("vsock", { received: work.vsock * 1024, equal: true });
    every("rebind", { gone: true, equal: true });
    if (work.unplug) every("plugged", { equal: true });
    for (const { now } of of("resized")) assert(typeof now === "number");
    every("done", {});
    assertEquals(of("second boot").length, boots - 1);
  }

  /** The noise past the file system, the hole that was discarded, and the file system itself. */
  async #checkImage({ rawAt, raw, files }: LinuxWork): Promise<void> {
    using file = await Deno.open(this.#image);
    const block = noise(MIB, 7);
    const got = new Uint8Array(MIB);
    for (let i = 0; i < raw; i++) {
      await file.seek((rawAt + i) * MIB, Deno.SeekMode.Start);
      for (let at = 0; at < MIB;) at += await file.read(got.subarray(at)) ?? MIB;
      stamp(block, i);
      assert(sameBytes(got, i === 1 ? new Uint8Array(MIB) : block), `MiB ${i} is wrong`);
    }
    const { code, stdout } = await new Deno.Command("e2fsck", { args: ["-f", "-n", this.#image] })
      .output();
    assertEquals([code, code === 0 ? "" : new TextDecoder().decode(stdout)], [0, ""]);
    if (files === 0) return;
    const dump = new Deno.Command("debugfs", {
      args: ["-R", "cat /0", this.#image],
      stderr: "null",
    });
    const first = noise(MIB, 11);
    stamp(first, 0);
    assert(sameBytes((await dump.output()).stdout, first), "the first file is wrong");
  }
}

/** An independent DHCP server on an interface of this machine, with one address. */
async function dhcpServer(
  busybox: string,
  folder: string,
  tap: string,
): Promise<AsyncDisposable> {
  const configuration = `${folder}/udhcpd.conf`;
  const lines = [
    ...[`start ${LEASED}`, `end ${LEASED}`, `interface ${tap}`, `lease_file ${folder}/leases`],
    ...[`pidfile ${folder}/udhcpd.pid`, "option subnet 255.255.255.0", `option router ${HOST}`],
  ];
  await Deno.writeTextFile(configuration, lines.join("\n") + "\n");
  await Deno.writeTextFile(`${folder}/leases`, "");
  const args = ["udhcpd", "-f", configuration];
  const process = new Deno.Command(busybox, { args, stdout: "null", stderr: "null" }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await process.status;
    },
  };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Says everything back, to everybody. */
async function echo(listener: Deno.Listener): Promise<void> {
  for await (const { readable, writable } of listener) {
    void readable.pipeTo(writable).catch(() => {});
  }
}
