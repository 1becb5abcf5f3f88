import { command, type CommandGroup, JSON_OPTION } from "./command.ts";

const OUTPUT = {
  flag: "-o, --output <file>",
  summary: "write here instead of standard output",
  file: "write",
} as const;

const SOURCE = {
  flag: "--source <address>",
  summary: "our IPv4 address; one of the wire's network by default",
} as const;

const load = (): Promise<typeof import("./net.ts")> => import("./net.ts");

/** `vireo net`. */
export const NET_GROUP: CommandGroup = {
  name: "net",
  summary: "ping, send, capture and measure a network",
  example: "vireo net ping 10.0.2.2",
  commands: [
    command({
      name: "info",
      summary: "address, link, MTU, queues and features",
      options: [JSON_OPTION],
      example: "vireo net info --json",
      board: {},
      run: async ({ board, flags }) => await (await load()).info(board, flags),
    }),
    command({
      name: "ping",
      summary: "ICMP echo, with ARP before it",
      arguments: [["[address]", "IPv4 address", "10.0.2.2"]],
      options: [
        SOURCE,
        { flag: "-c, --count <n>", summary: "how many", value: "4" },
        { flag: "--deadline <ms>", summary: "how long to wait for each answer", value: "1000" },
        JSON_OPTION,
      ],
      example: "vireo net ping 10.0.2.2 -c 3\nvireo net ping 192.0.2.1 --net tap:vireo0",
      board: {},
      beforeGuest: async ({ board, args: [address], flags }) => ({
        flags: { source: (await load()).preparePing(board, address, flags).source },
      }),
      run: async ({ board, args: [address], flags }) =>
        await (await load()).pingHost(board, address, flags),
    }),
    command({
      name: "dhcp",
      summary: "ask the network for an address",
      options: [
        { flag: "--deadline <ms>", summary: "how long to wait for a server", value: "5000" },
        JSON_OPTION,
      ],
      example: "vireo net dhcp --target qtest:aarch64-virt",
      board: {},
      run: async ({ board, flags }) => await (await load()).lease(board, flags),
    }),
    command({
      name: "fetch",
      summary: "fetch a file by HTTP, with an address that the network lends",
      arguments: [[
        "<url>",
        "http:// and an IPv4 address or a name; QEMU's user network has the host at 10.0.2.2",
      ]],
      options: [
        OUTPUT,
        {
          flag: "--deadline <ms>",
          summary: "how long to wait for an address, and for the connection",
          value: "5000",
        },
        {
          flag: "--idle <ms>",
          summary: "how long the server may be silent in its answer",
          value: "30000",
        },
        JSON_OPTION,
      ],
      example:
        "vireo net fetch http://10.0.2.2:8000/README.md --target qtest:aarch64-virt -o README.md",
      board: {},
      run: async ({ board, args: [url], flags }) =>
        await (await load()).fetchFile(board, url, flags),
    }),
    command({
      name: "send",
      summary: "send one Ethernet frame given in hex",
      arguments: [["<frame>", "pairs of hex digits, 14 bytes or more"]],
      options: [JSON_OPTION],
      example: "vireo net send 'ffffffffffff 525400123456 88b5 6869'",
      board: {},
      run: async ({ board, args: [frame], flags }) =>
        await (await load()).send(board, frame, flags),
    }),
    command({
      name: "capture",
      summary: "write received frames as a pcap file",
      options: [
        OUTPUT,
        { flag: "-c, --count <n>", summary: "stop after so many frames", value: "10" },
        {
          flag: "--deadline <ms>",
          summary: "stop after this long without a frame",
          value: "5000",
        },
        {
          flag: "--ping <address>",
          summary: "ping this address first, so that there is something to see",
        },
        SOURCE,
        JSON_OPTION,
      ],
      example: "vireo net capture --ping 10.0.2.2 -c 2 -o out.pcap",
      board: {},
      beforeGuest: async ({ board, flags }) => ({
        flags: { source: (await load()).prepareCapture(board, flags).source },
      }),
      run: async ({ board, flags }) => await (await load()).capture(board, flags),
    }),
    command({
      name: "bench",
      summary: "frames a second to the hub and back",
      options: [
        { flag: "--bytes <n>", summary: "bytes a frame", value: "64" },
        { flag: "--frames <n>", summary: "how many", value: "1000000" },
        JSON_OPTION,
      ],
      example: "vireo net bench --bytes 1514",
      board: {},
      run: async ({ board, flags }) => await (await load()).bench(board, flags),
    }),
  ],
};
