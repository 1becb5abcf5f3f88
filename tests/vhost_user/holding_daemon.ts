/**
 * Serves a disk whose writes to odd sectors are never done while a file `hold` is in its folder. It appends the
 * sector of each write to a file `writes`.
 *
 * `deno run -A tests/vhost_user/holding_daemon.ts FOLDER [packed] [inOrder]`: the socket is `FOLDER/s.sock`, and
 * the image `FOLDER/disk.img`.
 *
 * @module
 */
import { FileDisk } from "../../emu/backends/file_disk.ts";
import type { DiskBackend } from "../../emu/backends/disk.ts";
import { BlkDevice } from "../../emu/devices/blk/mod.ts";
import { VhostUserServer } from "@vireo/emu/vhost-user";

const [folder, ...words] = Deno.args;
const holds = await Deno.stat(`${folder}/hold`).then(() => true, () => false);
const disk = new FileDisk(`${folder}/disk.img`);

const holding: DiskBackend = {
  size: disk.size,
  readOnly: false,
  asynchronous: true,
  read: (offset, into, start, length) => disk.read(offset, into, start, length),
  write: (offset, from, start, length) => {
    const sector = offset / 512;
    Deno.writeTextFileSync(`${folder}/writes`, `${sector}\n`, { append: true });
    if (holds && sector % 2 === 1) return new Promise<void>(() => {});
    return disk.write(offset, from, start, length);
  },
  flush: () => disk.flush(),
  zero: (offset, length) => disk.zero(offset, length),
  resize: () => {},
  [Symbol.dispose]: () => disk[Symbol.dispose](),
};

const server = new VhostUserServer({
  model: new BlkDevice({ disk: holding }),
  path: `${folder}/s.sock`,
  offer: { packed: words.includes("packed"), inOrder: words.includes("inOrder") },
  // deno-lint-ignore no-console -- a program
  event: (event) => console.error(JSON.stringify(event)),
});
await server.ended;
