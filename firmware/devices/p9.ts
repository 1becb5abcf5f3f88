import { DeviceId } from "@vireo/hal/ids";
import { doubleCommas, nameAndWords } from "../terminal/commas.ts";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The host's name for its tree. */
const TAG = "vireo";
/** Contents of the tree where no directory was named. */
const HELLO = "Hello from the host.\n";

interface DirectoryOption {
  readonly path: string | undefined;
  readonly readOnly: boolean;
}

/** A directory of `DIR[,ro]`. Commas of its name are doubled. */
function parseDirectory(value: string | undefined): DirectoryOption {
  if (value === undefined) return { path: undefined, readOnly: false };
  const isWord = (word: string): boolean => word === "ro";
  const { name: path, words } = nameAndWords(value, isWord);
  if (path === "" || !words.every(isWord)) {
    throw new UsageError(`--with 9p: expected DIR[,ro], got '${value}'`);
  }
  return { path, readOnly: words.length > 0 };
}

/** Directories of the host, by 9P. */
export const P9: BoardDevice = {
  name: "9p",
  deviceId: DeviceId.NINE_P,
  value: "DIR[,ro]",
  driver: async () => (await import("@vireo/drivers/p9")).p9Driver,
  async emulate(value) {
    const { path, readOnly } = parseDirectory(value);
    const { HostTree, MemoryTree, P9Device } = await import("@vireo/emu/p9");
    if (path === undefined) {
      return new P9Device({ tree: new MemoryTree({ "hello.txt": HELLO }), tag: TAG });
    }
    try {
      return new P9Device({ tree: new HostTree(path, { readOnly }), tag: TAG });
    } catch (cause) {
      const { hostError } = await import("../terminal/files.ts");
      // Without the host, only a path to a file is refused.
      const why = cause instanceof TypeError ? "it must be a folder" : cause;
      throw hostError(`--with 9p: Cannot share ${path}`, why);
    }
  },
  qemu(value, id) {
    const { path, readOnly } = parseDirectory(value);
    // A tree that QEMU makes up itself stands for the emulator's own.
    const fsdev = path === undefined
      ? `synth,id=${id}fs`
      : `local,id=${id}fs,path=${doubleCommas(path)},security_model=none${
        readOnly ? ",readonly=on" : ""
      }`;
    return {
      backends: ["-fsdev", fsdev],
      devices: [`virtio-9p-device,id=${id},fsdev=${id}fs,mount_tag=${TAG}`],
    };
  },
};
