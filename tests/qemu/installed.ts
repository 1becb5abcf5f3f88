import { CACHE } from "../../firmware/image/paths.ts";
import { type QemuVersion, qemuVersion } from "./version.ts";

/** The folder of the programs of the QEMU that `fetch.ts` fetched. */
export const SECOND_QEMU: string = `${CACHE}/qemu/bin`;

/** A QEMU that is there. */
interface InstalledQemu {
  /** Its version. */
  readonly version: QemuVersion;
  /** The value of `PATH` under which its programs are found by name. */
  readonly path: string;
}

/**
 * Finds every QEMU that tests run on: the host's own, and the fetched one.
 *
 * @throws {Error} If there is none.
 */
export function installedQemus(): InstalledQemu[] {
  const own = Deno.env.get("PATH") ?? "";
  const all = [own, `${SECOND_QEMU}:${own}`].flatMap((path): InstalledQemu[] => {
    const directory = path === own ? "" : `${SECOND_QEMU}/`;
    const version = qemuVersion(`${directory}qemu-system-aarch64`);
    return version === undefined ? [] : [{ version, path }];
  });
  if (all.length > 0) return all;
  throw new Error("Cannot find qemu-system-aarch64: run make packages");
}
