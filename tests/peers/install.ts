// deno-lint-ignore-file no-console -- a program says what it fetches
import { Debian, debianSuite } from "@vireo/firmware/image";
import { CACHE } from "../../firmware/image/paths.ts";
import { programFiles } from "../vhost_user/guest_files.ts";
import type { LinuxKernel } from "../vhost_user/linux.ts";
import type { LinuxTools } from "../vhost_user/linux_rig.ts";

/** A program that is there, or why it is not. */
export type Found<T> = T | { readonly absent: string };

/** Where everything is kept. */
const PEERS = `${CACHE}/peers`;
/** rust-vmm's daemons, at the versions whose behaviour the checks know. */
const CRATES: Readonly<Record<string, string>> = {
  "vhost-device-rng": "0.1.0",
  "vhost-device-vsock": "0.3.0",
  "vhost-device-scsi": "0.1.0",
  "vhost-device-console": "0.1.0",
  "vhost-device-sound": "0.3.0",
};
/** Daemons that are built without the sound of this machine, whose libraries would be needed. */
const WITHOUT_DEFAULTS: ReadonlySet<string> = new Set(["vhost-device-sound"]);

/** How far packages are optimized: a daemon and the crates of its rings in full, parsers of options not at all. */
const OPTIMIZED: readonly (readonly [string, number])[] = [
  ["*", 0],
  ...["vhost", "vhost-user-backend", "vm-memory", "virtio-queue", "vmm-sys-util", "libc", "epoll"]
    .map((name) => [name, 3] as const),
];

/** How to start a program. */
export interface Program {
  readonly path: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** DPDK's testpmd from Debian, unpacked into the cache. */
export async function testpmd(): Promise<Found<Program>> {
  const root = `${PEERS}/dpdk/root`;
  const path = `${root}/usr/bin/dpdk-testpmd`;
  if (Deno.build.arch !== "x86_64") return { absent: "it is fetched for x86_64 only" };
  if (!isFile(path)) {
    console.log("vireo: fetching Debian's dpdk-dev into .cache/peers");
    await Deno.mkdir(`${PEERS}/dpdk`, { recursive: true });
    try {
      await new Debian(`${PEERS}/dpdk`, "x86_64").fetchWithDependencies(["dpdk-dev"], root);
    } catch (error) {
      return { absent: `apt cannot fetch dpdk-dev: ${(error as Error).message}` };
    }
  }
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  const versions = [...Deno.readDirSync(libraries)].map(({ name }) =>
    /^librte_net_vhost\.so\.(\d+)$/.exec(name)?.[1]
  );
  const version = versions.find((one) => one !== undefined);
  if (version === undefined) return { absent: "dpdk-dev came without librte_net_vhost" };
  // DPDK loads no driver from below a folder that all may write to; so the loader does it.
  const drivers = ["net_vhost", "mempool_ring", "net_virtio"];
  return {
    path,
    env: {
      LD_LIBRARY_PATH: `${libraries}:${libraries}/blas:${libraries}/lapack`,
      LD_PRELOAD: drivers.map((name) => `${libraries}/librte_${name}.so.${version}`).join(" "),
    },
  };
}

/** One of rust-vmm's daemons, compiled into the cache. */
export async function rustDaemon(name: string): Promise<Found<Program>> {
  const path = `${PEERS}/cargo/bin/${name}`;
  if (isFile(path)) return { path };
  const version = CRATES[name]!;
  console.log(`vireo: compiling ${name} ${version} into .cache/peers`);
  const began = performance.now();
  try {
    const { success, stderr } = await new Deno.Command("cargo", {
      args: [
        ...["install", "--locked", "--quiet", "--root", `${PEERS}/cargo`, `${name}@${version}`],
        ...WITHOUT_DEFAULTS.has(name) ? ["--no-default-features"] : [],
        ...OPTIMIZED.flatMap(([of, level]) => [
          "--config",
          `profile.release.package."${of}".opt-level=${level}`,
        ]),
      ],
      // What two daemons are made of is compiled once.
      env: { CARGO_TARGET_DIR: `${PEERS}/cargo/target`, CARGO_PROFILE_RELEASE_LTO: "off" },
      stderr: "piped",
    }).output();
    if (success) {
      console.log(`vireo: it took ${Math.round((performance.now() - began) / 1000)} s`);
      return { path };
    }
    return { absent: `cargo: ${new TextDecoder().decode(stderr).trim().split("\n").at(-1)}` };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { absent: "there is no cargo" };
    throw error;
  }
}

/** fio and busybox from Debian for guests, and busybox for this machine, unpacked into the cache. */
export async function guestTools(): Promise<Found<LinuxTools>> {
  const root = `${PEERS}/tools/root`;
  const [fio, busybox] = [`${root}/usr/bin/fio`, `${root}/bin/busybox`];
  if (!isFile(fio)) {
    console.log("vireo: fetching Debian's fio and busybox into .cache/peers");
    await Deno.mkdir(`${PEERS}/tools`, { recursive: true });
    try {
      const debian = new Debian(`${PEERS}/tools`, "x86_64");
      await debian.fetchWithDependencies(["fio", "busybox-static"], root);
    } catch (error) {
      return { absent: `apt cannot fetch fio and busybox: ${(error as Error).message}` };
    }
  }
  const folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
  // Libraries of Ceph load each other from a folder of their own.
  const libraries = [...folders, `${folders[0]}/ceph`].map((one) => `${root}/${one}`).join(":");
  return { files: await programFiles([fio, busybox], libraries), busybox };
}

/** A kernel of Debian by its release; `full` has the drivers too that clouds do without. */
type KernelName = "6.1 full" | "6.12" | "6.12 full";

/** Debian 12's own kernel, and that of its backports, which is Debian 13's. */
const KERNELS: Readonly<
  Record<KernelName, readonly [folder: string, suite: string, name: string]>
> = {
  "6.1 full": ["linux-6.1-full", "bookworm", "linux-image-amd64"],
  "6.12": ["linux", "bookworm-backports", "linux-image-cloud-amd64"],
  "6.12 full": ["linux-6.12-full", "bookworm-backports", "linux-image-amd64"],
};

/** Another kernel than the guests' own, unpacked into the cache. */
export async function debianKernel(name: KernelName): Promise<Found<LinuxKernel>> {
  if (await debianSuite() !== "bookworm") return { absent: "it is fetched on Debian 12 only" };
  const [folder, suite, packageName] = KERNELS[name];
  const root = `${PEERS}/${folder}/root`;
  if (kernelOf(root) === undefined) {
    console.log(`vireo: fetching the kernel ${name} of ${suite} into .cache/peers`);
    await Deno.mkdir(`${PEERS}/${folder}`, { recursive: true });
    try {
      const debian = new Debian(`${PEERS}/${folder}`, "x86_64", undefined, suite);
      await debian.fetchWithDependencies([packageName], root);
    } catch (error) {
      return { absent: `apt cannot fetch it: ${(error as Error).message}` };
    }
  }
  const image = kernelOf(root);
  return image === undefined ? { absent: "the package came without a kernel" } : { image, root };
}

function kernelOf(root: string): string | undefined {
  try {
    const file = [...Deno.readDirSync(`${root}/boot`)].find(({ name }) => /^vmlinuz-/.test(name));
    return file && `${root}/boot/${file.name}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether there is such a file. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
