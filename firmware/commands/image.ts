import { programError } from "@vireo/hal/host";
import { createHash } from "node:crypto";
import { DEFAULT_BOARD } from "../target/options.ts";
import { addRun, GUEST_BOARDS, guestRun, qemuCommandLine } from "../guest/mod.ts";
import {
  type Arch,
  type Bundle,
  bundleSource,
  type CpioEntry,
  guestImage,
  type ImageManifest,
  publishedModules,
} from "../image/mod.ts";
import { guestEntry } from "../in_guest/command.ts";
import { GUEST_VARIABLE } from "../terminal/environment.ts";
import { hostError } from "../terminal/files.ts";
import { note } from "../terminal/output.ts";
import { qemuArguments } from "../target/qemu_arguments.ts";

/** Flags of `vireo image`. */
interface ImageFlags {
  readonly arch: Arch;
  readonly output: string;
  readonly refresh?: true | undefined;
  readonly json?: true | undefined;
}

/** Words that a shell takes as they are. */
const PLAIN = /^[\w@%+=:,./-]+$/;

/**
 * `vireo image`: writes a kernel, an initramfs that starts the REPL on the board's serial line, and a
 * script that boots them in QEMU.
 */
export async function makeImage(flags: ImageFlags): Promise<void> {
  const { arch, output: dir } = flags;
  const board = GUEST_BOARDS.find((known) => known.arch === arch)!;
  await Deno.mkdir(dir, { recursive: true }).catch((cause) => {
    throw hostError(`--output: Cannot make ${dir}`, cause);
  });
  const image = await guestImage(arch, { onProgress: note, refresh: flags.refresh });
  const target = `qemu:${board.name}`;
  const run = guestRun(board, {
    args: ["shell", "--target", target],
    env: { [GUEST_VARIABLE]: "1" },
    plain: true,
  });
  await Deno.copyFile(image.kernel, `${dir}/kernel`);
  const program = await bundleSource(guestEntry(), { modules: await publishedModules() });
  const added = await addRun(image, `${dir}/initramfs.cpio`, run, program);
  await writeManifest(dir, image.manifest, added);
  await writeBoard(
    `${dir}/board`,
    program,
    image.manifestPath.replace(/[^/]*$/, "lib/libvireo.so"),
  );
  const { backends, devices } = qemuArguments({ ...DEFAULT_BOARD, target }, []);
  const words = qemuCommandLine(
    board,
    { kernel: "$dir/kernel" },
    { devices: [...backends, ...devices.flatMap((device) => ["-device", device])] },
    "$dir/initramfs.cpio",
  );
  await Deno.writeTextFile(
    `${dir}/boot.sh`,
    `#!/bin/sh
# Boots this image: a REPL on the serial line. Further arguments are QEMU's.
${
      arch === "x86_64"
        ? "# tsc_early_khz is the rate of this host's counter: on another host, write the image again.\n"
        : ""
    }dir=$(cd "$(dirname "$0")" && pwd)
command -v ${board.qemu} >/dev/null || {
  echo "boot.sh: ${programError(board.qemu, "no folder of PATH has it").message}" >&2
  exit 1
}
exec ${words.map(quote).join(" ")} "$@"
`,
  );
  await Deno.chmod(`${dir}/boot.sh`, 0o755);
  const files = ["kernel", "initramfs.cpio", "manifest.json", "boot.sh", "board/vireo"];
  if (flags.json) console.log(JSON.stringify({ arch, directory: dir, files, target }));
  else console.log(files.map((file) => `${dir}/${file}`).join("\n"));
}

/** Writes the program of the image for a Linux that somebody else boots. */
async function writeBoard(dir: string, program: Bundle, shim: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true }).catch((cause) => {
    throw hostError(`--output: Cannot make ${dir}`, cause);
  });
  for (const [name, text] of program) await Deno.writeTextFile(`${dir}/${name}`, text);
  await Deno.copyFile(shim, `${dir}/libvireo.so`);
  await Deno.writeTextFile(
    `${dir}/main.js`,
    `import main from "./program.js";\nDeno.exit(await main(Deno.args));\n`,
  );
  await Deno.writeTextFile(
    `${dir}/vireo`,
    `#!/bin/sh
# Vireo in any Linux with Deno and root: $0 probe --target devmem
dir=$(cd "$(dirname "$0")" && pwd)
export VIREO_SHIM="$dir/libvireo.so"
command -v "\${DENO:-deno}" >/dev/null || {
  echo "vireo: Cannot run \${DENO:-deno}: no folder of PATH has it; set DENO to Deno ${Deno.version.deno}" >&2
  exit 1
}
exec "\${DENO:-deno}" run -A --quiet --no-config --no-lock --no-remote "$dir/main.js" "$@"
`,
  );
  await Deno.chmod(`${dir}/vireo`, 0o755);
}

/** Writes what is in the image: the parts that every image has, and what this one was given. */
async function writeManifest(
  dir: string,
  base: ImageManifest,
  added: readonly CpioEntry[],
): Promise<void> {
  const entry = (data: Uint8Array): { size: number; sha256: string } => {
    return { size: data.length, sha256: createHash("sha256").update(data).digest("hex") };
  };
  const files: Record<string, { size: number; sha256: string }> = { ...base.files };
  for (const file of added) if (file.kind === "file") files[file.path] = entry(file.data);
  files["initramfs.cpio"] = entry(await Deno.readFile(`${dir}/initramfs.cpio`));
  const manifest: ImageManifest = { ...base, files };
  await Deno.writeTextFile(`${dir}/manifest.json`, JSON.stringify(manifest, null, 2));
}

function quote(word: string): string {
  if (word.startsWith("$dir/")) return `"${word}"`;
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
