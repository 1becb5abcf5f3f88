import { MmioPart } from "../discover/mmio_part.ts";
import { PciAssignment } from "../discover/pci_assign.ts";
import { type PciBarDetails, pciCapabilities } from "../discover/pci.ts";
import { ecamConfig, type PciConfig, portConfig } from "../discover/pci_config.ts";
import { type PciBuses, type PciFunction, scanPci } from "../discover/pci_scan.ts";
import { PciSlot } from "../discover/pci_slot.ts";
import { VireoError } from "../errors.ts";
import type { Mmio } from "../mmio.ts";
import type { PciLease, PciMessage, PciNode } from "../pci.ts";
import { MSIX_CAP, PciCapability, PciCommand, PciRegister } from "../virtio/pci.ts";
import type { QtestChannel } from "./_channel.ts";
import { doorbellMessages, gicv2mMessages, type Lines, type Messages } from "./_messages.ts";
import { type Ports, QtestMmio, QtestPorts, type Registers } from "./_windows.ts";
import type { PciHostMap } from "./board.ts";

/** The register of a q35's host bridge that opens its ECAM window, and its enable bit. */
const Q35_PCIEXBAR = { REGISTER: 0x60, ENABLE: 1 } as const;
/** QEMU's `edu` device. */
const EDU = { vendor: 0x1234, device: 0x11e8 } as const;
const PORTS = 0x1_0000;

/** Access to a board, and the error that ended it, if any. */
type Channel = Registers & Ports & Pick<QtestChannel, "error">;

/** A function that has its addresses, or the reason why it cannot. */
interface Found {
  readonly fn: PciFunction;
  readonly bars: readonly PciBarDetails[] | VireoError;
  readonly node: PciNode;
}

/** A port into which devices can be plugged. */
interface Port {
  readonly slot: PciSlot;
  /** The buses behind it. */
  readonly buses: PciBuses;
}

/**
 * The PCI host bridge of a board; it does what firmware does when a machine starts, and what Linux does when
 * devices are plugged or unplugged.
 */
export class PciHost {
  readonly #map: PciHostMap;
  readonly #channel: Channel;
  readonly #lines: Lines;
  readonly #io: Mmio;
  readonly #config: PciConfig;
  readonly #assignment: PciAssignment;
  readonly #messages: Messages;
  /** The numbers of the buses behind bridges, which a reset takes from the bridges. */
  #buses: ReadonlyMap<string, PciBuses> = new Map();
  readonly #open = new Set<PciFunction>();
  #found: readonly Found[] = [];
  #nodes: readonly PciNode[] = [];
  #ports: readonly Port[] = [];

  /**
   * Finds the functions and gives them addresses.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If there are not enough addresses; `HOST_ERROR` If the board
   * lacks the device that reports messages.
   */
  constructor(map: PciHostMap, channel: Channel, lines: Lines) {
    this.#map = map;
    this.#channel = channel;
    this.#lines = lines;
    const { ecam, io, memory } = map;
    this.#io = io.window === undefined
      ? new QtestPorts("ports", 0, PORTS, channel)
      : new QtestMmio("ports", io.window, PORTS, channel);
    this.#config = ecamConfig(new QtestMmio("ecam", ecam.base, ecam.size, channel));
    this.#assignment = new PciAssignment({ memory, io });
    const functions = this.#scan();
    const bars = this.#assignment.assign(functions);
    const own = this.#doorbell(functions);
    this.#messages = this.#makeMessages(own, bars);
    this.#list(functions, own, (fn) => bars.get(fn)!);
  }

  /** The functions, without those that the machine itself uses or that were asked to leave. */
  get nodes(): readonly PciNode[] {
    return this.#nodes;
  }

  /** Finds the functions again, and gives those back their addresses that the machine has reset. */
  rescan(): void {
    const functions = this.#scan();
    const failures = new Map<PciFunction, VireoError>();
    const bars = this.#assignment.assign(functions, (fn, error) => failures.set(fn, error));
    const own = this.#doorbell(functions);
    if (own !== undefined) enableMemory(own);
    this.#list(functions, own, (fn) => bars.get(fn) ?? failures.get(fn)!);
    this.#eject();
  }

  /** Finds the functions, after the slots of ports have power. */
  #scan(): PciFunction[] {
    this.#openEcam();
    let functions: PciFunction[];
    let powered: boolean;
    do {
      functions = scanPci(this.#config, { number: this.#buses });
      this.#ports = functions.flatMap(({ config, bridge }) => {
        const slot = bridge === undefined ? undefined : PciSlot.find(config);
        return slot === undefined ? [] : [{ slot, buses: bridge! }];
      });
      powered = this.#ports.filter(({ slot }) => slot.poll()).length > 0;
    } while (powered);
    this.#buses = new Map(
      functions.flatMap(({ name, bridge }) => bridge === undefined ? [] : [[name, bridge]]),
    );
    return functions;
  }

  /** Opens the window of configuration spaces, on machines where it is closed after a reset. */
  #openEcam(): void {
    const { ecam } = this.#map;
    if (ecam.q35 !== true) return;
    const host = portConfig(this.#io).open({ segment: 0, bus: 0, device: 0, function: 0 });
    host.write32(Q35_PCIEXBAR.REGISTER + 4, Math.floor(ecam.base / 0x1_0000_0000));
    host.write32(Q35_PCIEXBAR.REGISTER, ecam.base % 0x1_0000_0000 + Q35_PCIEXBAR.ENABLE);
  }

  /** Makes nodes of the functions; one that stays keeps its node. */
  #list(
    functions: readonly PciFunction[],
    own: PciFunction | undefined,
    barsOf: (fn: PciFunction) => Found["bars"],
  ): void {
    this.#found = functions.filter((fn) => fn !== own).map((fn) => {
      const bars = barsOf(fn);
      const old = this.#found.find((found) => found.fn.name === fn.name && found.bars === bars);
      return old ?? { fn, bars, node: this.#node(fn, bars) };
    });
    const leaving = this.#ports.filter(({ slot }) => slot.leaving);
    this.#nodes = this.#found.filter(({ fn }) => !leaving.some((port) => isBehind(port, fn)))
      .map(({ node }) => node);
  }

  /** Lets go the cards that were asked to leave and that nobody uses any more. */
  #eject(): void {
    for (const port of this.#ports) {
      const used = [...this.#open].some((fn) => isBehind(port, fn));
      if (!used && port.slot.leaving) port.slot.eject();
    }
  }

  #doorbell(functions: readonly PciFunction[]): PciFunction | undefined {
    const { messages } = this.#map;
    if (messages.kind !== "doorbell") return undefined;
    const found = functions.find(({ vendor, device, address }) =>
      vendor === EDU.vendor && device === EDU.device && address.bus === 0 &&
      address.device === messages.device
    );
    if (found !== undefined) return found;
    throw new VireoError(
      "HOST_ERROR",
      "Cannot deliver messages: the board lacks the device that reports them",
      {
        expected: `edu at 00:${messages.device.toString(16)}.0`,
      },
    );
  }

  #makeMessages(
    own: PciFunction | undefined,
    bars: ReadonlyMap<PciFunction, readonly PciBarDetails[]>,
  ): Messages {
    const { messages } = this.#map;
    if (messages.kind === "gicv2m") {
      return gicv2mMessages(messages.frame, this.#channel, this.#lines);
    }
    enableMemory(own!);
    const { address } = bars.get(own!)![0]!;
    return doorbellMessages(address, this.#input(own!)!, this.#channel, this.#lines);
  }

  /** The input of the interrupt controller that a function's INTx pin is wired to. */
  #input({ pin }: PciFunction): number | undefined {
    return pin === undefined ? undefined : this.#map.firstInput + (pin.device + pin.pin) % 4;
  }

  #node(fn: PciFunction, bars: Found["bars"]): PciNode {
    const { address, name, vendor, device } = fn;
    return { kind: "pci", address, name, vendor, device, open: () => this.#lease(fn, bars) };
  }

  #lease(fn: PciFunction, bars: Found["bars"]): PciLease {
    if (bars instanceof VireoError) throw bars;
    const { config, name } = fn;
    this.#open.add(fn);
    const input = this.#input(fn);
    const taken: PciMessage[] = [];
    const command = config.read16(PciRegister.COMMAND);
    const msix = pciCapabilities(config, PciCapability.MSIX)[0]?.offset;
    const control = msix === undefined ? 0 : config.read16(msix + MSIX_CAP.control.offset);
    let open = true;
    return {
      config,
      bars,
      line: input === undefined ? undefined : this.#lines.line(input),
      openBar: (index) => {
        const bar = bars.find((candidate) => candidate.index === index);
        if (bar === undefined) {
          throw new VireoError("BAD_ACCESS", "Cannot map a base address register", {
            device: name,
            seen: index,
            expected: bars.map((known) => known.index).join(" or ") || "none",
          });
        }
        const title = `${name} BAR${index}`;
        return bar.space === "io"
          ? new MmioPart(title, this.#io, bar.address, bar.size)
          : new QtestMmio(title, bar.address, bar.size, this.#channel);
      },
      messages: (count) => {
        const messages = this.#messages.take(count);
        if (messages !== undefined) taken.push(...messages);
        return messages;
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.#open.delete(fn);
        this.#messages.give(taken);
        // A machine that is gone has nothing to restore.
        if (this.#channel.error !== undefined) return;
        if (msix !== undefined) config.write16(msix + MSIX_CAP.control.offset, control);
        config.write16(PciRegister.COMMAND, command);
        this.#eject();
      },
    };
  }
}

/** Whether a function is behind a port, at once or behind more bridges. */
function isBehind({ buses }: Port, { address }: PciFunction): boolean {
  return address.bus >= buses.bus && address.bus <= buses.last;
}

function enableMemory({ config }: PciFunction): void {
  config.write16(PciRegister.COMMAND, PciCommand.MEMORY);
}
