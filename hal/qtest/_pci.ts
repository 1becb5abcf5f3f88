import { MmioPart } from "../discover/mmio_part.ts";
import { assignBars } from "../discover/pci_assign.ts";
import { type PciBarDetails, pciCapabilities, type PciFunction, scanPci } from "../discover/pci.ts";
import { ecamConfig, portConfig } from "../discover/pci_config.ts";
import { VireoError } from "../errors.ts";
import type { Mmio } from "../mmio.ts";
import type { PciLease, PciMessage, PciNode } from "../pci.ts";
import { MSIX_CAP, PciCapability, PciCommand, PciRegister } from "../virtio/pci.ts";
import type { QtestChannel } from "./_channel.ts";
import type { InterruptLines } from "./_interrupts.ts";
import { doorbellMessages, gicv2mMessages, type Messages } from "./_messages.ts";
import { QtestMmio, QtestPorts } from "./_windows.ts";
import type { PciHostMap } from "./board.ts";

/** The register of a q35's host bridge that opens its ECAM window, and its enable bit. */
const Q35_PCIEXBAR = { REGISTER: 0x60, ENABLE: 1 } as const;
/** QEMU's `edu` device. */
const EDU = { vendor: 0x1234, device: 0x11e8 } as const;
const PORTS = 0x1_0000;

/** The PCI host bridge of a board; it does what firmware does when a machine starts. */
export class PciHost {
  /** The functions, without those that the machine itself uses. */
  readonly nodes: readonly PciNode[];
  readonly #map: PciHostMap;
  readonly #channel: QtestChannel;
  readonly #lines: InterruptLines;
  readonly #ports: Mmio;
  readonly #messages: Messages;

  /**
   * Finds the functions and gives them addresses.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If there are not enough addresses; `HOST_ERROR` If the board
   * lacks the device that reports messages.
   */
  constructor(map: PciHostMap, channel: QtestChannel, lines: InterruptLines) {
    this.#map = map;
    this.#channel = channel;
    this.#lines = lines;
    const { ecam, io, memory } = map;
    this.#ports = io.window === undefined
      ? new QtestPorts("ports", 0, PORTS, channel)
      : new QtestMmio("ports", io.window, PORTS, channel);
    if (ecam.q35 === true) {
      const host = portConfig(this.#ports).open({ segment: 0, bus: 0, device: 0, function: 0 });
      host.write32(Q35_PCIEXBAR.REGISTER + 4, Math.floor(ecam.base / 0x1_0000_0000));
      host.write32(Q35_PCIEXBAR.REGISTER, ecam.base % 0x1_0000_0000 + Q35_PCIEXBAR.ENABLE);
    }
    const config = ecamConfig(new QtestMmio("ecam", ecam.base, ecam.size, channel));
    const functions = scanPci(config, { number: true });
    const bars = assignBars(functions, { memory, io });
    const own = this.#doorbell(functions);
    this.#messages = this.#makeMessages(own, bars);
    this.nodes = functions.filter((fn) => fn !== own).map((fn) => this.#node(fn, bars.get(fn)!));
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
    own!.config.write16(PciRegister.COMMAND, PciCommand.MEMORY);
    const { address } = bars.get(own!)![0]!;
    return doorbellMessages(address, this.#input(own!)!, this.#channel, this.#lines);
  }

  /** The input of the interrupt controller that a function's INTx pin is wired to. */
  #input({ pin }: PciFunction): number | undefined {
    return pin === undefined ? undefined : this.#map.firstInput + (pin.device + pin.pin) % 4;
  }

  #node(fn: PciFunction, bars: readonly PciBarDetails[]): PciNode {
    const { address, name, vendor, device } = fn;
    return { kind: "pci", address, name, vendor, device, open: () => this.#open(fn, bars) };
  }

  #open(fn: PciFunction, bars: readonly PciBarDetails[]): PciLease {
    const { config, name } = fn;
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
          ? new MmioPart(title, this.#ports, bar.address, bar.size)
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
        this.#messages.give(taken);
        // A machine that is gone has nothing to restore.
        if (this.#channel.error !== undefined) return;
        if (msix !== undefined) config.write16(msix + MSIX_CAP.control.offset, control);
        config.write16(PciRegister.COMMAND, command);
      },
    };
  }
}
