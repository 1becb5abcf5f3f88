import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  bridge,
  endpoint,
  FakeBus,
  type FakeConfig,
  hotPlugPort,
} from "../discover/fake_pci_test_util.ts";
import { VireoError } from "../errors.ts";
import type { Interrupt } from "../interrupt.ts";
import { PciHost } from "./_pci.ts";
import type { PciHostMap } from "./board.ts";

const ECAM = { base: 0x12_3000_0000, size: 8 << 20 } as const;
const WINDOW = 0x3eff_0000;
const V2M = 0x802_0000;
const MAP: PciHostMap = {
  ecam: ECAM,
  memory: { base: 0x1000_0000, size: 0x100_0000 },
  io: { base: 0, size: 0x1_0000, window: WINDOW },
  firstInput: 35,
  messages: { kind: "gicv2m", frame: V2M },
};
/** A board without a message controller, whose ports have instructions of their own. */
const PC: PciHostMap = {
  ...MAP,
  ecam: { ...ECAM, q35: true },
  io: { ...MAP.io, window: undefined },
  messages: { kind: "doorbell", device: 5 },
};

const hex = (value: number): string => value.toString(16);

/** A machine whose PCI functions are in memory; what is accessed besides their configuration is noted. */
class Board {
  readonly bus = new FakeBus(8);
  readonly log: string[] = [];
  error: VireoError | undefined;
  /** Inputs that are open for messages. */
  readonly pulsed = new Set<number>();
  readonly watchers = new Map<number, () => void>();
  /** What the frame of messages says: interrupts from 80 on. */
  messages = 4;

  read(width: number, address: number): number {
    if (address === V2M + 8) return 80 << 16 | this.messages;
    const found = this.#function(address);
    if (found === undefined) this.log.push(`r${width} ${hex(address)}`);
    const [config, at] = found ?? [];
    if (config === undefined) return 0;
    return width === 1 ? config.read8(at!) : width === 2 ? config.read16(at!) : config.read32(at!);
  }

  write(width: number, address: number, value: number): void {
    const found = this.#function(address);
    if (found === undefined) {
      this.log.push(`w${width} ${hex(address)} ${hex(value)}`);
      return;
    }
    const [config, at] = found;
    if (width === 1) config.write8(at, value);
    else if (width === 2) config.write16(at, value);
    else config.write32(at, value);
  }

  readPort(width: number, port: number): number {
    this.log.push(`in${width} ${hex(port)}`);
    return 0;
  }

  writePort(width: number, port: number, value: number): void {
    this.log.push(`out${width} ${hex(port)} ${hex(value)}`);
  }

  /** The interrupt of an input; only its number matters here. */
  line(input: number): Interrupt & { readonly input: number } {
    return { input, polled: false, wait: () => Promise.resolve() };
  }

  openPulsed(input: number): Interrupt {
    this.pulsed.add(input);
    return this.line(input);
  }

  closePulsed(input: number): void {
    this.pulsed.delete(input);
  }

  watch(input: number, callback: () => void): void {
    this.watchers.set(input, callback);
  }

  pulse(): void {}

  host(map = MAP): PciHost {
    return new PciHost(map, this, this);
  }

  #function(address: number): [config: ReturnType<FakeBus["open"]>, at: number] | undefined {
    const at = address - ECAM.base;
    if (at < 0 || at >= ECAM.size) return undefined;
    const bus = Math.floor(at / 0x10_0000);
    const place = { segment: 0, bus, device: at >> 15 & 31, function: at >> 12 & 7 };
    return [this.bus.open(place), at & 0xfff];
  }
}

/** A function with a register of 4 KiB of memory and one of 32 ports, and with MSI-X at 0x40. */
function card(): FakeConfig {
  const { config } = endpoint([
    { kind: "memory", bits: 12, unit: 0 },
    { kind: "io", bits: 5, unit: 0 },
  ]);
  config.view.setUint8(6, 0x10);
  config.view.setUint8(0x34, 0x40);
  config.view.setUint32(0x40, 0x0003_0011, true);
  config.mask.setUint16(0x42, 0xc000, true);
  return config;
}

/** QEMU's `edu` device, with a register of 1 MiB. */
function edu(): FakeConfig {
  const { config } = endpoint([{ kind: "memory", bits: 20, unit: 0 }]);
  config.view.setUint32(0, 0x11e8_1234, true);
  return config;
}

const names = (host: PciHost): string[] => host.nodes.map(({ name }) => name);

Deno.test("a q35's window of configuration spaces is opened at each look, and no other's", () => {
  const board = new Board();
  board.bus.functions.set("0:5.0", edu());
  const host = board.host(PC);
  const opened = [
    ...["out4 cf8 80000064", "out4 cfc 12", "out4 cf8 80000060", "out4 cfc 30000001"],
  ];
  assertEquals(board.log.splice(0), opened);
  host.rescan();
  assertEquals(board.log.splice(0), opened);
  board.host({ ...PC, ecam: ECAM });
  assertEquals(board.log, []);
});

Deno.test("the device that reports messages is the machine's own: it answers, and is no node", () => {
  const board = new Board();
  const own = edu();
  board.bus.functions.set("0:5.0", own);
  board.bus.functions.set("0:6.0", edu());
  board.bus.functions.set("0:7.0", card());
  const host = board.host(PC);
  assertEquals(names(host), ["0000:00:06.0", "0000:00:07.0"]);
  assertEquals(own.read16(4), 2);
  // Its INTA, and that of device 5, is the second of four inputs.
  assertEquals([...board.watchers.keys()], [36]);
  using lease = host.nodes[1]!.open();
  const [first, second] = lease.messages(2)!;
  assertEquals([first!.address, second!.address, second!.data], [0x1000_0060, 0x1000_0060, 2]);
  // A reset of the machine switches it off.
  own.write16(4, 0);
  host.rescan();
  assertEquals([own.read16(4), names(host).length], [2, 2]);
});

Deno.test("a board lacks the device that reports messages, if none is that one and there", () => {
  const wrong: readonly (readonly [name: string, at: string, id: number])[] = [
    ["nothing", "0:6.0", 0x1041_1af4],
    ["another vendor", "0:5.0", 0x11e8_1235],
    ["another device", "0:5.0", 0x11e9_1234],
    ["another place", "0:4.0", 0x11e8_1234],
    ["another bus", "1:5.0", 0x11e8_1234],
  ];
  for (const [name, at, id] of wrong) {
    const board = new Board();
    board.bus.functions.set("0:1.0", bridge());
    const config = edu();
    config.view.setUint32(0, id, true);
    board.bus.functions.set(at, config);
    const error = assertThrows(() => board.host(PC), VireoError, undefined, name);
    assertEquals([error.code, error.expected], ["HOST_ERROR", "edu at 00:5.0"], name);
  }
});

Deno.test("a lease has the function's line and registers, in memory and at ports", () => {
  const board = new Board();
  board.bus.functions.set("0:3.0", card());
  const silent = card();
  silent.view.setUint8(0x3d, 0);
  board.bus.functions.set("0:4.0", silent);
  const last = card();
  last.view.setUint8(0x3d, 2);
  board.bus.functions.set("0:7.0", last);
  const nodes = board.host().nodes;
  const inputs = nodes.map((node) => {
    using lease = node.open();
    return (lease.line as ReturnType<Board["line"]> | undefined)?.input;
  });
  // INTA of device 3 is the fourth, INTB of device 7 the first.
  assertEquals(inputs, [38, undefined, 35]);
  const [{ kind, name, address, vendor, device }] = nodes as [typeof nodes[0]];
  assertEquals([kind, name, vendor, device], ["pci", "0000:00:03.0", 0x1af4, 0x1041]);
  assertEquals(address, { segment: 0, bus: 0, device: 3, function: 0 });
  using lease = nodes[0]!.open();
  assertEquals(lease.bars.map(({ index, space, address }) => [index, space, address]), [
    [0, "memory", 0x1000_0000],
    [1, "io", 0x1000],
  ]);
  const memory = lease.openBar(0);
  const ports = lease.openBar(1);
  assertEquals(
    [memory.name, memory.size, ports.name, ports.size],
    ["0000:00:03.0 BAR0", 4096, "0000:00:03.0 BAR1", 32],
  );
  memory.read32(8);
  memory.write16(0xffe, 7);
  ports.read8(31);
  ports.write32(28, 1);
  assertEquals(board.log, [
    ...["r4 10000008", "w2 10000ffe 7"],
    ...[`r1 ${hex(WINDOW + 0x101f)}`, `w4 ${hex(WINDOW + 0x101c)} 1`],
  ]);
  const error = assertThrows(() => lease.openBar(2), VireoError);
  assertEquals(
    [error.code, error.device, error.seen, error.expected],
    ["BAD_ACCESS", "0000:00:03.0", 2, "0 or 1"],
  );
});

Deno.test("ports of a machine that has instructions for them are reached by these", () => {
  const board = new Board();
  board.bus.functions.set("0:3.0", card());
  using lease = board.host({ ...MAP, io: { ...MAP.io, window: undefined } }).nodes[0]!.open();
  const ports = lease.openBar(1);
  ports.read16(2);
  ports.write8(31, 0x1ff);
  assertEquals(board.log, ["in2 1002", "out1 101f ff"]);
});

Deno.test("a lease of a function without registers has none to open", () => {
  const board = new Board();
  board.bus.functions.set("0:3.0", endpoint([]).config);
  using lease = board.host().nodes[0]!.open();
  assertEquals(lease.bars, []);
  assertEquals(assertThrows(() => lease.openBar(0), VireoError).expected, "none");
});

Deno.test("a lease gives its messages back, and the function what it had, once", () => {
  const board = new Board();
  const config = card();
  config.write16(4, 2);
  config.write16(0x42, 0x4000);
  board.bus.functions.set("0:3.0", config);
  const host = board.host();
  const lease = host.nodes[0]!.open();
  assertEquals(lease.messages(3)!.map(({ data }) => data), [80, 81, 82]);
  assertEquals(lease.messages(2), undefined);
  assertEquals(lease.messages(1)!.map(({ address, data }) => [address, data]), [[V2M + 0x40, 83]]);
  assertEquals([...board.pulsed], [48, 49, 50, 51]);
  lease.config.write16(4, 7);
  lease.config.write16(0x42, 0x8000);
  lease[Symbol.dispose]();
  // The size of the table is read only.
  assertEquals([config.read16(4), config.read16(0x42), board.pulsed.size], [2, 0x4003, 0]);
  using next = host.nodes[0]!.open();
  assertEquals(next.messages(4)?.length, 4);
  next.config.write16(4, 7);
  lease[Symbol.dispose]();
  assertEquals([config.read16(4), board.pulsed.size], [7, 4]);
});

Deno.test("a lease of a function without MSI-X restores what it has, and of a machine that is gone nothing", () => {
  const board = new Board();
  const { config } = endpoint([{ kind: "memory", bits: 12, unit: 0 }]);
  board.bus.functions.set("0:3.0", config);
  const host = board.host();
  const lease = host.nodes[0]!.open();
  config.write16(4, 7);
  const writes = config.writes;
  lease[Symbol.dispose]();
  assertEquals([config.read16(4), config.writes - writes], [0, 2]);
  const last = host.nodes[0]!.open();
  assertEquals(last.messages(1)?.length, 1);
  config.write16(4, 7);
  board.error = new VireoError("HOST_ERROR", "QEMU ended");
  last[Symbol.dispose]();
  assertEquals([config.read16(4), board.pulsed.size], [7, 0]);
});

Deno.test("a look keeps the nodes of functions that stay, and has others for those that come", () => {
  const board = new Board();
  for (const device of [1, 2, 3]) board.bus.functions.set(`0:${device}.0`, card());
  const host = board.host();
  const [first, , third] = host.nodes;
  board.bus.functions.delete("0:2.0");
  host.rescan();
  assertEquals(names(host), ["0000:00:01.0", "0000:00:03.0"]);
  assert(host.nodes[0] === first);
  assert(host.nodes[1] === third);
  // Another one in the same place.
  const other = card();
  other.view.setUint16(2, 0x1042, true);
  board.bus.functions.set("0:3.0", other);
  board.bus.functions.set("0:2.0", card());
  host.rescan();
  assertEquals(host.nodes.map(({ device }) => device), [0x1041, 0x1041, 0x1042]);
  assert(host.nodes[0] === first);
});

Deno.test("a function that has no room is a node that cannot be opened, until it has", () => {
  const board = new Board();
  const host = board.host();
  const large = endpoint([{ kind: "memory", bits: 26, unit: 0 }]).config;
  board.bus.functions.set("0:3.0", large);
  board.bus.functions.set("0:4.0", card());
  host.rescan();
  assertEquals(names(host), ["0000:00:03.0", "0000:00:04.0"]);
  const error = assertThrows(() => host.nodes[0]!.open(), VireoError);
  assertEquals(error.code, "OUT_OF_MEMORY");
  host.nodes[1]!.open()[Symbol.dispose]();
  board.bus.functions.set("0:3.0", card());
  host.rescan();
  using lease = host.nodes[0]!.open();
  assertEquals(lease.bars.length, 2);
});

/** A port of device 1 on bus 0, and what its slot control says of power and indicator. */
function withPort(): { board: Board; port: FakeConfig; control: () => number; press: () => void } {
  const board = new Board();
  const port = hotPlugPort();
  port.view.setUint16(0x58, 0x7c0, true);
  board.bus.functions.set("0:1.0", port);
  return {
    board,
    port,
    control: () => port.read16(0x58) & 0x700,
    press: () => port.view.setUint16(0x5a, 0x41, true),
  };
}

const [ON, LEAVING, OFF] = [0x100, 0x200, 0x700];

Deno.test("a slot gets power before a look, which then finds what is in it", () => {
  const { board, port, control } = withPort();
  port.view.setUint16(0x5a, 0x40, true);
  // A card without power does not answer.
  const set = port.write16.bind(port);
  port.write16 = (at, value) => {
    set(at, value);
    if (at === 0x58 && (value & 0x400) === 0) board.bus.functions.set("1:0.0", card());
  };
  const host = board.host();
  assertEquals([control(), names(host)], [ON, ["0000:00:01.0", "0000:01:00.0"]]);
});

Deno.test("a card whose button was pressed is no node any more, and goes once nobody uses it", () => {
  const { board, port, control, press } = withPort();
  port.view.setUint16(0x5a, 0x40, true);
  // Behind the port is a bridge, and the card behind that.
  board.bus.functions.set("1:0.0", bridge());
  board.bus.functions.set("2:3.0", card());
  board.bus.functions.set("0:2.0", card());
  // Of the last bus that there is.
  const host = board.host({ ...MAP, ecam: { ...ECAM, size: 3 << 20 } });
  const all = ["0000:00:01.0", "0000:00:02.0", "0000:01:00.0", "0000:02:03.0"];
  assertEquals(names(host), all);
  // One that nobody uses.
  press();
  host.rescan();
  assertEquals([control(), names(host)], [OFF, all.slice(0, 2)]);
  port.view.setUint16(0x58, 0x1c0, true);
  port.view.setUint16(0x5a, 0x40, true);
  host.rescan();
  const lease = host.nodes[3]!.open();
  const other = host.nodes[1]!.open();
  press();
  host.rescan();
  assertEquals([control(), names(host)], [LEAVING, all.slice(0, 2)]);
  other[Symbol.dispose]();
  assertEquals(control(), LEAVING);
  lease[Symbol.dispose]();
  assertEquals(control(), OFF);
});

Deno.test("a slot whose button was not pressed keeps its card when a lease ends", () => {
  const { board, port, control } = withPort();
  port.view.setUint16(0x58, 0x1c0, true);
  port.view.setUint16(0x5a, 0x40, true);
  board.bus.functions.set("1:0.0", card());
  const host = board.host();
  host.nodes[1]!.open()[Symbol.dispose]();
  host.rescan();
  assertEquals([control(), names(host).length], [ON, 2]);
});

Deno.test("a look gives the buses behind bridges the numbers that they had before a reset", () => {
  const board = new Board();
  const [first, second] = [hotPlugPort(), bridge()];
  board.bus.functions.set("0:1.0", first);
  board.bus.functions.set("0:2.0", second);
  const config = card();
  board.bus.functions.set("5:0.0", config);
  const host = board.host();
  assertEquals(names(host).at(-1), "0000:05:00.0");
  const node = host.nodes.at(-1);
  for (const front of [first, second]) front.write32(0x18, 0);
  for (const at of [0x10, 0x14]) config.write32(at, 0);
  // What comes meanwhile before them takes none of these.
  board.bus.functions.set("0:0.0", bridge());
  host.rescan();
  assert(host.nodes.at(-1) === node);
  assertEquals([first.read8(0x19), second.read8(0x19)], [1, 5]);
  assertEquals(config.read32(0x10), 0x1020_0000);
});
