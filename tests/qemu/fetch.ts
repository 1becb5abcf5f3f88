// deno-lint-ignore-file no-console -- a program
/**
 * Fetches the second QEMU that the tests run on: QEMU 10 from Debian 12's backports, beside Debian 12's
 * own 7.2. The host's packages and its package configuration stay as they are. Where QEMU 10 is the
 * host's own, there is nothing to fetch.
 *
 * `deno run -A tests/qemu/fetch.ts`; exits with 1 if it cannot be had.
 *
 * @module
 */
import { Debian, debianSuite } from "@vireo/firmware/image";
import { SECOND_QEMU } from "./installed.ts";
import { qemuVersion } from "./version.ts";

/** Debian 12, whose own QEMU is 7.2, and what has a newer one for it. */
const SUITE = "bookworm";
const BACKPORTS = "bookworm-backports";
const PACKAGES = ["qemu-system-x86", "qemu-system-arm", "qemu-system-riscv", "qemu-utils"] as const;
const PROGRAMS = ["x86_64", "aarch64", "riscv64"].map((arch) => `qemu-system-${arch}`);

if (await debianSuite() !== SUITE) {
  console.log("vireo: the tests run on the host's own QEMU only");
} else if (PROGRAMS.some((name) => qemuVersion(`${SECOND_QEMU}/${name}`) === undefined)) {
  console.log(`vireo: fetching QEMU 10 from ${BACKPORTS} into .cache/ for the tests (80 MB)`);
  await fetch();
}

async function fetch(): Promise<void> {
  const dir = SECOND_QEMU.replace(/\/bin$/, "");
  await Deno.mkdir(dir, { recursive: true });
  const debian = new Debian(dir, Deno.build.arch, undefined, BACKPORTS);
  await debian.fetchWithDependencies(PACKAGES, `${dir}/root`);
  const libraries = `$root/lib/${Deno.build.arch}-linux-gnu`;
  await Deno.mkdir(SECOND_QEMU, { recursive: true });
  for (const { name } of Deno.readDirSync(`${dir}/root/usr/bin`)) {
    if (!name.startsWith("qemu-")) continue;
    const data = name.startsWith("qemu-system-")
      ? "-L $root/share/qemu -L $root/share/seabios "
      : "";
    const script = `#!/bin/sh
# Runs it from where its packages were unpacked. Without QEMU_MODULE_DIR it would load the modules
# of the QEMU that is installed.
root=${dir}/root/usr
export LD_LIBRARY_PATH=${libraries} QEMU_MODULE_DIR=${libraries}/qemu
exec $root/bin/${name} ${data}"$@"
`;
    await Deno.writeTextFile(`${SECOND_QEMU}/${name}`, script, { mode: 0o755 });
  }
  for (const name of PROGRAMS) {
    const version = qemuVersion(`${SECOND_QEMU}/${name}`);
    if (version !== undefined && version.major >= 10) continue;
    console.error(`vireo: ${SECOND_QEMU}/${name} does not run: expected QEMU 10 or later`);
    Deno.exit(1);
  }
}
