import { p9Driver, type P9Entry, type P9Stat, type P9Tree } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { inGuest } from "../terminal/environment.ts";
import { writeAll } from "../terminal/output.ts";
import { UsageError } from "../terminal/usage.ts";
import type { Vireo } from "../vireo.ts";
import type { BoardDevice } from "./board_device.ts";

/** What the host calls its tree. */
const TAG = "vireo";
/** What is exported where no directory was named. */
const HELLO = "Hello from the host.\n";

interface DirectoryOption {
  readonly path: string | undefined;
  readonly readOnly: boolean;
}

/** A directory of `DIR[,ro]`. */
function parseDirectory(value: string | undefined): DirectoryOption {
  if (value === undefined) return { path: undefined, readOnly: false };
  const readOnly = value.endsWith(",ro");
  const path = readOnly ? value.slice(0, -",ro".length) : value;
  if (path === "" || path.includes(",")) {
    throw new UsageError(`--with 9p: expected DIR[,ro], got '${value}'`);
  }
  return { path, readOnly };
}

async function attach(vireo: Vireo): Promise<P9Tree> {
  return await vireo.get(p9Driver).attach({ signal: vireo.signal });
}

const LETTERS = { directory: "d", symlink: "l", file: "-", other: "?" } as const;

/** A line as `ls -l` has it, without owners. */
function line({ name, kind }: P9Entry, { mode, size, mtime }: P9Stat): string {
  const bits = [0o400, 0o200, 0o100, 0o40, 0o20, 0o10, 4, 2, 1]
    .map((bit, i) => (mode & bit) === 0 ? "-" : "rwx"[i % 3]).join("");
  const time = mtime.toISOString().slice(0, 16).replace("T", " ");
  const slash = kind === "directory" ? "/" : "";
  return `${LETTERS[kind]}${bits} ${String(size).padStart(10)} ${time} ${name}${slash}`;
}

/** The whole of standard input, or of a file. */
async function readSource(path: string | undefined): Promise<Uint8Array> {
  if (path !== undefined) return await Deno.readFile(path);
  return new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
}

/** Directories of the host, by 9P. */
export const P9: BoardDevice = {
  name: "9p",
  deviceId: DeviceId.NINE_P,
  summary: "files of the host, by 9P",
  value: "DIR[,ro]",
  driver: () => Promise.resolve(p9Driver),
  async emulate(value) {
    const { path, readOnly } = parseDirectory(value);
    const { HostTree, MemoryTree, P9Device } = await import("@vireo/emu");
    const tree = path === undefined
      ? new MemoryTree({ "hello.txt": HELLO })
      : new HostTree(path, { readOnly });
    return new P9Device({ tree, tag: TAG });
  },
  qemu(value, id) {
    const { path, readOnly } = parseDirectory(value);
    // A tree that QEMU makes up itself stands for the emulator's own.
    const fsdev = path === undefined
      ? `synth,id=${id}fs`
      : `local,id=${id}fs,path=${path},security_model=none${readOnly ? ",readonly=on" : ""}`;
    return {
      backends: ["-fsdev", fsdev],
      devices: [`virtio-9p-device,id=${id},fsdev=${id}fs,mount_tag=${TAG}`],
    };
  },
  commands: [
    {
      name: "ls",
      summary: "list a directory",
      arguments: [["[path]", "which; the root by default"]],
      example: "vireo 9p ls --with 9p=. drivers --json",
      async run(vireo, { args, flags }) {
        const options = { signal: vireo.signal };
        await using tree = await attach(vireo);
        const path = args[0] ?? "";
        const listed = await tree.list(path, options);
        listed.sort((a, b) => a.name < b.name ? -1 : 1);
        const stats = await Promise.all(
          listed.map(({ name }) => tree.lstat(`${path}/${name}`, options)),
        );
        if (flags["json"]) {
          const entries = listed.map(({ name, kind }, i) => {
            const { size, mode, uid, gid, mtime } = stats[i]!;
            return { name, kind, size, mode, uid, gid, mtime };
          });
          return console.log(JSON.stringify(entries));
        }
        for (const [i, entry] of listed.entries()) console.log(line(entry, stats[i]!));
      },
    },
    {
      name: "cat",
      summary: "write a file to standard output",
      arguments: [["<path>", "which"]],
      options: [["-o, --output <file>", "write here instead"]],
      example: "vireo 9p cat --with 9p=. README.md | head",
      async run(vireo, { args, flags }) {
        await using tree = await attach(vireo);
        const bytes = await tree.readFile(args[0]!, { signal: vireo.signal });
        const output = flags["output"];
        if (typeof output === "string") await Deno.writeFile(output, bytes);
        else await writeAll(bytes);
      },
    },
    {
      name: "put",
      summary: "write a file, or standard input, to the host's tree",
      arguments: [["<path>", "where to"], ["[file]", "what; standard input by default"]],
      options: [["-i, --input <file>", "the same as [file]; the way for qemu targets"]],
      stdin: true,
      example: "vireo 9p put --with 9p=/tmp/share notes/today.txt -i today.txt",
      async run(vireo, { args, flags }) {
        const [path, file] = args;
        // JSON has brought the arguments to a guest: what is missing is null.
        if (typeof file === "string" && inGuest()) {
          throw new UsageError(`9p put: a guest has no '${file}', give it with -i`);
        }
        const input = flags["input"];
        const bytes = await readSource(typeof input === "string" ? input : file ?? undefined);
        await using tree = await attach(vireo);
        await tree.writeFile(path!, bytes, { signal: vireo.signal });
        if (flags["json"]) console.log(JSON.stringify({ path, bytes: bytes.length }));
        else console.log(`${bytes.length} bytes to ${path}`);
      },
    },
  ],
};
