import { assert, assertEquals } from "@std/assert";
import { Feature } from "@vireo/hal";
import { openVireo } from "../../firmware/session.ts";
import { startDaemon, temporaryFolder } from "./daemon.ts";
import { deadline } from "./device_checks.ts";
import { wait } from "./wait.ts";

const PROGRAM = new URL("./holding_daemon.ts", import.meta.url).pathname;
/** Writes at a time: half of them are held. */
const COUNT = 24;

const block = (sector: number, round: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(512).fill(sector + 64 * round);

for (const ring of ["split", "packed"] as const) {
  Deno.test(`vhost-user: a back end that is killed with requests under way is replaced, ${ring}`, async () => {
    await using folder = temporaryFolder();
    const { path } = folder;
    await Deno.writeFile(`${path}/disk.img`, new Uint8Array(1 << 20));
    await Deno.writeTextFile(`${path}/hold`, "");
    const written = (): number[] =>
      Deno.readTextFileSync(`${path}/writes`).trim().split("\n").map(Number);
    const start = () => {
      Deno.writeTextFileSync(`${path}/writes`, "");
      return startDaemon(
        Deno.execPath(),
        ["run", "-A", "--no-check", PROGRAM, path, ring],
        `${path}/s.sock`,
      );
    };
    const packed = ring === "packed";
    const first = await start();
    const machine = openVireo({
      target: "qtest:x86_64-q35",
      // QEMU 10.0.13 has 1024 entries, but asks for memory of requests under way for 128 of them.
      queueSize: 128,
      blk: [],
      net: { kind: "none" },
      qemuArgs: ["-chardev", `socket,id=vu0,path=${path}/s.sock,reconnect=1`],
      devices: [`vhost-user-blk-pci,chardev=vu0${packed ? ",packed=on" : ""}`],
    });
    await using vireo = await machine;
    const { blk } = vireo;
    assertEquals(blk.device.has(Feature.RING_PACKED), packed);
    const all: Promise<void>[] = [];
    for (let sector = 0; sector < COUNT; sector++) {
      all.push(blk.write(sector, block(sector, 0), { deadline }));
    }
    const done = Promise.all(all);
    // Until it is waited for, below.
    done.catch(() => {});
    await Promise.all(all.filter((_, sector) => sector % 2 === 0));
    await wait("all writes to be taken", () => written().length === COUNT);
    await first[Symbol.asyncDispose]();

    // The next one does what the first one held, once and in order, and nothing else.
    await Deno.remove(`${path}/hold`);
    await using _ = await start();
    await done;
    assertEquals(written(), Array.from({ length: COUNT / 2 }, (_, i) => 2 * i + 1));
    for (let sector = 0; sector < COUNT; sector++) {
      await blk.write(sector + COUNT, block(sector, 1), { deadline });
    }
    await blk.flush({ deadline });
    const image = await Deno.readFile(`${path}/disk.img`);
    for (let sector = 0; sector < 2 * COUNT; sector++) {
      const bytes = image.slice(sector * 512, (sector + 1) * 512);
      assertEquals(bytes, block(sector % COUNT, sector < COUNT ? 0 : 1), `sector ${sector}`);
      assert(bytes.length === 512);
    }
  });
}
