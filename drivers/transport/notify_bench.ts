// Measures the cost that a transport adds to the one register write of a notification.
import type { Mmio, MmioNode, PciNode } from "@vireo/hal";
import { ScriptedDevice } from "../testing/scripted_device.ts";
import { ScriptedPci } from "../testing/scripted_pci.ts";
import { BLOCK, dma, RING } from "./pci/test_util.ts";
import { MmioTransport } from "./mmio.ts";
import { probePci } from "./pci/probe.ts";
import type { Transport } from "./transport.ts";

/** Keeps the writes from being optimised away. */
let sink = 0;

/** The registers of a scripted device, but writes cost nothing once `fast` is set. */
class Window implements Mmio {
  readonly name: string;
  readonly size: number;
  readonly #inner: Mmio;
  fast = false;

  constructor(inner: Mmio) {
    this.name = inner.name;
    this.size = inner.size;
    this.#inner = inner;
  }
  read8(offset: number): number {
    return this.#inner.read8(offset);
  }
  read16(offset: number): number {
    return this.#inner.read16(offset);
  }
  read32(offset: number): number {
    return this.#inner.read32(offset);
  }
  write8(offset: number, value: number): void {
    this.#inner.write8(offset, value);
  }
  write16(offset: number, value: number): void {
    if (this.fast) sink += offset + value;
    else this.#inner.write16(offset, value);
  }
  write32(offset: number, value: number): void {
    if (this.fast) sink += offset + value;
    else this.#inner.write32(offset, value);
  }
}

function mmio(): Transport {
  const device = new ScriptedDevice();
  const window = new Window(device.mmio);
  const { interrupt } = device;
  const lease = { mmio: window, interrupt, [Symbol.dispose]() {} };
  const node: MmioNode = {
    kind: "mmio",
    name: device.name,
    base: 0,
    size: 0x200,
    irq: 1,
    open: () => lease,
  };
  const transport = MmioTransport.probe(node, dma)!;
  transport.enableQueue(0, RING);
  window.fast = true;
  return transport;
}

function pci(device: number): Transport {
  const fn = new ScriptedPci({ device, ...(device === 0x1000 && { capabilities: [] }) });
  const windows: Window[] = [];
  const node: PciNode = {
    kind: "pci",
    name: fn.name,
    address: fn.address,
    vendor: fn.vendor,
    device,
    open: () => ({
      config: fn.config,
      bars: fn.bars,
      line: fn.line,
      messages: () => undefined,
      openBar(index) {
        const window = new Window(fn.openBar(index));
        windows.push(window);
        return window;
      },
      [Symbol.dispose]() {},
    }),
  };
  const transport = probePci(node, dma);
  transport.enableQueue(0, device === 0x1000 ? BLOCK : RING);
  for (const window of windows) window.fast = true;
  return transport;
}

for (
  const [name, transport] of [
    ["virtio-mmio", mmio()],
    ["virtio-pci, modern", pci(0x106a)],
    ["virtio-pci, legacy", pci(0x1000)],
  ] as const
) {
  Deno.bench(`1000 notifications: ${name}`, { group: "notify" }, () => {
    for (let i = 0; i < 1000; i++) transport.notify(0, -1);
  });
}
