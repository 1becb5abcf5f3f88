import { command, type CommandGroup, JSON_OPTION } from "./command.ts";

const DISK = { flag: "--disk <n>", summary: "which disk, counted from 0", value: "0" } as const;
const SECTOR = {
  flag: "--sector <n>",
  summary: "first sector of 512 bytes",
  value: "0",
} as const;
const COUNT = {
  flag: "--count <n>",
  summary: "number of sectors; to the end by default",
} as const;

const load = (): Promise<typeof import("./blk.ts")> => import("./blk.ts");

/** `vireo blk`. */
export const BLK_GROUP: CommandGroup = {
  name: "blk",
  summary: "read, write and measure a disk",
  example: "vireo blk info --blk disk.img",
  commands: [
    command({
      name: "info",
      summary: "capacity, limits, features, serial, partitions and file systems",
      options: [DISK, JSON_OPTION],
      example: "vireo blk info --blk disk.img,serial=S1",
      board: {},
      run: async ({ board, flags }) => await (await load()).info(board, flags),
    }),
    command({
      name: "read",
      summary: "copy sectors to standard output or a file",
      options: [
        DISK,
        SECTOR,
        COUNT,
        { flag: "-o, --output <file>", summary: "write here instead", file: "write" },
        { flag: "--hash", summary: "print the SHA-256 instead of the bytes" },
        JSON_OPTION,
      ],
      example: "vireo blk read --blk disk.img --sector 2048 --count 8 -o part.bin",
      board: {},
      run: async ({ board, flags }) => await (await load()).read(board, flags),
    }),
    command({
      name: "write",
      summary: "copy standard input or a file to sectors",
      options: [
        DISK,
        SECTOR,
        { flag: "-i, --input <file>", summary: "read here instead", file: "read" },
        { flag: "--flush", summary: "flush afterwards" },
        JSON_OPTION,
      ],
      example: "vireo blk write --blk disk.img --sector 16 -i part.bin --flush",
      stdin: "bytes",
      board: {},
      run: async ({ board, flags }) => await (await load()).write(board, flags),
    }),
    command({
      name: "flush",
      summary: "make what was written durable",
      options: [DISK, JSON_OPTION],
      example: "vireo blk flush --blk disk.img",
      board: {},
      run: async ({ board, flags }) => await (await load()).flush(board, flags),
    }),
    command({
      name: "discard",
      summary: "tell the disk that sectors are not needed",
      options: [DISK, SECTOR, COUNT, JSON_OPTION],
      example: "vireo blk discard --blk disk.img --sector 64 --count 128",
      board: {},
      run: async ({ board, flags }) => await (await load()).discard(board, flags),
    }),
    command({
      name: "zones",
      summary: "list the zones of a zoned disk, or change their states",
      arguments: [["[action]", "open, close, finish, reset or reset-all, before the list"]],
      options: [
        DISK,
        { flag: "--sector <n>", summary: "a sector of the first zone", value: "0" },
        {
          flag: "--count <n>",
          summary: "number of zones; to the end by default, one with an action",
        },
        JSON_OPTION,
      ],
      example: "vireo blk zones --blk-zoned host-managed,conventional=2\n" +
        "vireo blk zones finish --sector 4096 --blk-zoned host-managed --json",
      board: {},
      run: async ({ board, args: [action], flags }) =>
        await (await load()).zones(board, action ?? undefined, flags),
    }),
    command({
      name: "bench",
      summary: "requests a second of random reads or writes",
      options: [
        DISK,
        { flag: "--op <op>", summary: "what to do", choices: ["read", "write"], value: "read" },
        { flag: "--depth <n>", summary: "requests in flight", value: "32" },
        { flag: "--bytes <n>", summary: "bytes a request", value: "4096" },
        { flag: "--requests <n>", summary: "how many in all", value: "100000" },
        JSON_OPTION,
      ],
      example: "vireo blk bench --depth 1\nvireo blk bench --op write --bytes 64K --requests 5000",
      board: {},
      run: async ({ board, flags }) => await (await load()).bench(board, flags),
    }),
  ],
};
