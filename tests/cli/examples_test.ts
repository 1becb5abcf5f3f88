import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { makeDemoDisk } from "@vireo/firmware";
import { main } from "../../firmware/main.ts";
import { TempFolder } from "../temp_folder.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

interface Example {
  readonly args?: string;
  readonly script?: string;
  readonly out: RegExp;
  /** Why it is not run on version 1. */
  readonly modern?: string;
  /** Why it is run on QEMU only. */
  readonly qemu?: string;
  /** Why it is not run on QEMU. */
  readonly emulated?: string;
}

/** What each example prints, by file name; `DISK` and `DIRECTORY` are replaced by paths. */
const EXAMPLES: Readonly<Record<string, Example>> = {
  "balloon.ts": {
    args: "--with balloon",
    out: /^the host has 8192 KiB of ours\nthe host has 0 KiB of ours\n$/,
  },
  "caif.ts": {
    args: "--with caif",
    out:
      /^frames of up to 4032 bytes, .*\n100 frames, 202000 bytes, came back as they were sent\n$/,
    modern: "the modem's buffers are in its shared memory, which version 1 cannot report",
    emulated: "QEMU has no such device",
  },
  "console_echo.ts": {
    script: "hi",
    out: /^sent 'hi', got 'hi'\n1048576 bytes came back as they were sent\n$/,
  },
  "crypto.ts": {
    args: "--with crypto",
    out: /^the device's secret says 'attack at dawn'\n$/,
    modern: "crypto devices have no legacy interface (virtio 1.4 §5.9)",
  },
  "entropy.ts": {
    script: "4096",
    out: /^key [0-9a-f]{64}\ndie [1-6]\n4096 bytes, [45]\d\.\d\d % of the bits are set\n$/,
  },
  "fetch.ts": {
    out: /^10\.0\.2\.15 by 10\.0\.2\.2, router 10\.0\.2\.2\n$/,
    qemu: "the emulated wire has no DHCP server",
  },
  "gpu.ts": {
    args: "--with gpu",
    out: /^display 0 is 640x480\na test card is on it\n$/,
    modern: "GPUs have no legacy interface (virtio 1.4 §5.7)",
  },
  "input.ts": {
    args: "--with input",
    out: /[Kk]eyboard has \d+ keys\nkey 47 pressed\nkey 47 released\n$/,
    modern: "input devices have no legacy interface (virtio 1.4 §5.8)",
  },
  "p9.ts": {
    args: "--with 9p=DIRECTORY",
    out:
      /^attached to 'vireo', \d+ bytes a message\nfile files.txt, 51 bytes\n.*\n.*\n.* ENOTEMPTY\n$/,
  },
  "ping.ts": { script: "10.0.2.2", out: /(reply \d from 10\.0\.2\.2 in [\d.]+ ms\n){3}$/ },
  "probe.ts": { out: /virtio\d: net at (virtio-mmio@\w+|[\da-f:.]+)\n {2}driver virtio_net\n/ },
  "read_disk.ts": { args: "--blk DISK,ro", out: /mbr 1: 32505856 bytes, ext4\nsha256 HASH\n$/ },
  "rpmsg.ts": {
    args: "--with rpmsg",
    out: /^rpmsg-client-sample at 1024 answers 'hello'\n.* answers 'world'\n$/,
    emulated: "QEMU has no such device",
  },
  "rproc_serial.ts": {
    args: "--with rproc-serial",
    out: /^it says: hello, remote processor\n$/,
    emulated: "QEMU has no such device",
  },
  "scsi.ts": {
    args: "--with scsi",
    out: /^0:0 (VIREO|QEMU) [\w ]+, 16 MiB\n(SCSI reads like|nothing)/,
  },
  "vsock.ts": {
    args: "--with vsock",
    out: /^guest 3:\d+ to host 2:7\n1048576 bytes came back as they were sent\n$/,
    emulated: "QEMU's needs vhost-vsock of the host's kernel, or a vhost-user daemon",
  },
  "write_a_device.ts": { out: /^VIRTIO READS LIKE THE SPECIFICATION\n$/ },
  "write_a_driver.ts": { out: /^rolled [1-6] and [1-6]\n$/ },
};

/** What a command printed, and how it ended. */
interface Ended {
  readonly code: number;
  readonly out: string;
}

/** Runs the launcher, as a user does. */
async function launch(args: readonly string[]): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(`${ROOT}vireo`, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  assertEquals([args, text(stderr)], [args, ""]);
  return { code, out: text(stdout) };
}

/** Runs the same command line in this process, which need not start Deno again. */
async function call(args: readonly string[]): Promise<Ended> {
  const { log } = console;
  let out = "";
  console.log = (...values: readonly unknown[]) => void (out += `${values.join(" ")}\n`);
  try {
    const code = await main([...args]);
    return { code, out };
  } finally {
    console.log = log;
  }
}

/** The disk that all boards read, and nobody writes; made once, as 32 MiB and their hash take half a second. */
let made: Promise<{ dir: string; path: string; hash: string }> | undefined;

async function makeDisk(): Promise<{ dir: string; path: string; hash: string }> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-examples-" });
  const path = `${dir}/disk.img`;
  await makeDemoDisk(path);
  const hash = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
  return { dir, path, hash };
}

Deno.test.afterAll(async () => {
  if (made !== undefined) await Deno.remove((await made).dir, { recursive: true });
});

const words = (text: string | undefined): string[] => text?.split(" ") ?? [];

/** Where every example is run that can be: each transport, interface and ring is in it. */
const BOARDS: readonly (readonly [flags: string, kind?: "legacy" | "qemu"])[] = [
  [""],
  ["--legacy", "legacy"],
  ["--packed --in-order --notification-data"],
  ["--transport pci --packed"],
  // What has no legacy interface on PCI is modern there, as with QEMU.
  ["--transport pci --transitional --force-legacy"],
  ["--target qtest:aarch64-virt", "qemu"],
  ["--target qtest:x86_64-q35 --packed", "qemu"],
  ["--target qtest:riscv64-virt-pci", "qemu"],
];

Deno.test("every example is listed here, and is shorter than 80 lines", async () => {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}examples`)) {
    if (!name.endsWith(".ts") || name === "mod.ts" || name.endsWith("_test.ts")) continue;
    names.push(name);
    const source = await Deno.readTextFile(`${ROOT}examples/${name}`);
    assert(source.trimEnd().split("\n").length < 80, `${name} is too long`);
  }
  assertEquals(names.sort(), Object.keys(EXAMPLES).sort());
});

for (const [flags, kind] of BOARDS) {
  const run = flags === "" ? launch : call;
  Deno.test(`every example runs with [${flags}]`, async () => {
    using folder = new TempFolder();
    const dir = folder.path;
    const { path: disk, hash } = await (made ??= makeDisk());
    for (const [name, example] of Object.entries(EXAMPLES)) {
      const { args: devices, script, out, modern, emulated, qemu } = example;
      const why = kind === "qemu" ? emulated : qemu ?? (kind === "legacy" ? modern : undefined);
      if (why !== undefined) continue;
      const given = words(devices?.replace("DISK", disk).replace("DIRECTORY", dir));
      const board = flags === "" ? [] : words(flags);
      const args = ["run", ...board, ...given, `${ROOT}examples/${name}`, ...words(script)];
      const { code, out: printed } = await run(args);
      assertEquals([name, code], [name, 0]);
      assertMatch(printed, new RegExp(out.source.replace("HASH", hash)));
    }
  });
}
