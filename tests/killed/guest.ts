import { assert, assertEquals, assertMatch } from "@std/assert";
import { seeded } from "../hostile/liar.ts";
import { Running } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** Milliseconds in which an end is at once: it must not wait for a deadline. */
const AT_ONCE = 10_000;

/** The process id of the QEMU that was started with this text on its command line. */
function qemuWith(text: string): number | undefined {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const words = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
      if (words[0]!.includes("qemu-system") && words.some((word) => word.includes(text))) {
        return Number(name);
      }
    } catch {
      // It has ended.
    }
  }
  return undefined;
}

/**
 * Ends a guest whose QEMU has a folder's name on its command line, and checks that nothing is left of it.
 *
 * @returns Milliseconds until the command had ended.
 */
export async function endGuest(
  guest: Running,
  how: "QEMU's end" | "Ctrl-C",
  dir: string,
): Promise<number> {
  const qemu = qemuWith(dir)!;
  const words = Deno.readTextFileSync(`/proc/${qemu}/cmdline`);
  const temporary = words.match(/\/[^\0,]*\/vireo-(?:guest|ports)-[^/\0,]+/g)!;
  const began = performance.now();
  if (how === "Ctrl-C") guest.child.kill("SIGINT");
  else Deno.kill(qemu, "SIGKILL");
  const { code, err } = await guest.end();
  const took = performance.now() - began;
  assert(took < AT_ONCE, `within ${AT_ONCE} ms`);
  if (how === "Ctrl-C") assertEquals([code, err], [130, ""]);
  else {
    assertEquals(code, 1);
    assertMatch(err, /^vireo: QEMU ended before the guest did: saw SIGKILL.*\[HOST_ERROR\]\n$/s);
  }
  assertEquals(qemuWith(dir), undefined);
  assert(temporary.length >= 2);
  for (const path of temporary) {
    assertEquals(await Deno.stat(path).catch(() => undefined), undefined, path);
  }
  return took;
}

const SECTOR = 512;
const LANES = 8;
/** Sectors of a lane, all written by each of its writes. */
const SECTORS = 8;

/** Writes to all lanes, and says of each write that was acknowledged: its lane and its number, which fills the sectors. */
const SCRIPT = `export default async ({ blk }) => {
  await Promise.all(Array.from({ length: ${LANES} }, async (_, lane) => {
    for (let number = 1;; number++) {
      const data = new Uint8Array(${SECTORS * SECTOR});
      new Uint32Array(data.buffer).fill(number);
      await blk.write(lane * ${SECTORS}, data);
      console.log(\`\${lane} \${number}\`);
    }
  }));
};
`;

/** Findings of a kill of a guest's QEMU. */
interface KilledGuest {
  /** Writes that the guest had said to be acknowledged; each is in the disk's file. */
  readonly written: number;
  /** Milliseconds from the kill until the command had ended. */
  readonly ended: number;
}

/** Kills a guest's QEMU once in the middle of a disk's I/O, after so many acknowledged writes as a seed says. */
export async function killGuestOnce(
  seed: number,
  board: string,
  qemu?: string,
): Promise<KilledGuest> {
  const random = seeded(seed);
  for (let i = 0; i < 4; i++) random();
  using folder = new TempFolder();
  const dir = folder.path;
  await Deno.writeFile(`${dir}/disk`, new Uint8Array(LANES * SECTORS * SECTOR));
  await Deno.writeTextFile(`${dir}/script.ts`, SCRIPT);
  const packed = random() % 2 === 0 ? " --packed" : "";
  const program = qemu === undefined ? "" : ` --qemu ${qemu}`;
  const guest = new Running(
    `run --target qemu:${board}${packed}${program} --blk ${dir}/disk ${dir}/script.ts`,
  );
  await guest.line(`${random() % LANES} ${1 + random() % 100}`);
  const ended = await endGuest(guest, "QEMU's end", dir);
  // The last line may be cut off by the end.
  const lines = guest.text.split("\n").slice(0, -1);
  const acknowledged = new Array<number>(LANES).fill(0);
  for (const line of lines) {
    const [lane, number] = line.split(" ").map(Number);
    acknowledged[lane!] = number!;
  }
  check(await Deno.readFile(`${dir}/disk`), acknowledged);
  return { written: lines.length, ended };
}

/** Every sector of a lane has what was acknowledged last, or a later write, and none is torn. */
function check(file: Uint8Array<ArrayBuffer>, acknowledged: readonly number[]): void {
  const words = new Uint32Array(file.buffer);
  const length = SECTOR / 4;
  for (let i = 0; i < LANES * SECTORS; i++) {
    const least = acknowledged[Math.floor(i / SECTORS)]!;
    const sector = words.subarray(i * length, (i + 1) * length);
    assert(sector[0]! >= least, `sector ${i} has ${sector[0]}: ${least} was acknowledged`);
    assert(sector.every((word) => word === sector[0]), `sector ${i} is torn`);
  }
}
