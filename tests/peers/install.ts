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
};

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
  if (!exists(path)) {
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
  if (exists(path)) return { path };
  const version = CRATES[name]!;
  console.log(`vireo: compiling ${name} ${version} into .cache/peers`);
  try {
    const { success, stderr } = await new Deno.Command("cargo", {
      args: ["install", "--locked", "--quiet", "--root", `${PEERS}/cargo`, `${name}@${version}`],
      // What two daemons are made of is compiled once.
      env: { CARGO_TARGET_DIR: `${PEERS}/cargo/target` },
      stderr: "piped",
    }).output();
    if (success) return { path };
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
  if (!exists(fio)) {
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

/** The kernel of Debian 12's backports, which is that of Debian 13, unpacked into the cache. */
export async function newerKernel(): Promise<Found<LinuxKernel>> {
  if (await debianSuite() !== "bookworm") return { absent: "guests have it as their own" };
  const root = `${PEERS}/linux/root`;
  const suite = "bookworm-backports";
  if (kernelOf(root) === undefined) {
    console.log(`vireo: fetching the kernel of ${suite} into .cache/peers`);
    await Deno.mkdir(`${PEERS}/linux`, { recursive: true });
    try {
      const debian = new Debian(`${PEERS}/linux`, "x86_64", undefined, suite);
      await debian.fetchWithDependencies(["linux-image-cloud-amd64"], root);
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

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
