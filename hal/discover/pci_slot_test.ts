import { assertEquals } from "@std/assert";
import { bridge, hotPlugPort } from "./fake_pci_test_util.ts";
import { isHotPlugPort, PciSlot } from "./mod.ts";

Deno.test("PciSlot powers a card that is new, and lets one go whose button was pressed", () => {
  assertEquals(PciSlot.find(bridge()), undefined);
  const config = hotPlugPort();
  const slot = PciSlot.find(config)!;
  const at = { control: 0x58, status: 0x5a };
  const event = (bits: number) => config.view.setUint16(at.status, bits, true);
  config.write16(at.control, 0x7c0);
  event(0);
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [false, false, 0x7c0]);
  event(0x49); // the button, a change of presence, a card
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [true, false, 0x1c0]);
  event(0x40);
  assertEquals([slot.poll(), slot.leaving], [false, false]);
  event(0x41);
  assertEquals([slot.poll(), slot.leaving, config.read16(at.control)], [false, true, 0x2c0]);
  slot.eject();
  assertEquals([slot.leaving, config.read16(at.control)], [false, 0x7c0]);
});

Deno.test("PciSlot is found behind a port whose slot takes cards, and nowhere else", () => {
  const port = (flags: number, capabilities: number): boolean => {
    const config = hotPlugPort();
    config.view.setUint16(0x42, flags, true);
    config.view.setUint32(0x54, capabilities, true);
    const found = PciSlot.find(config) !== undefined;
    assertEquals(isHotPlugPort(config), found);
    return found;
  };
  assertEquals(port(0x0142, 0x40), true);
  assertEquals([port(0x0042, 0x40), port(0x0142, 0x3f), port(0x0142, 0)], [false, false, false]);
  // A bridge with a controller of its own has no slot of PCI Express.
  const shpc = hotPlugPort();
  shpc.view.setUint16(0x40, 0x0c, true);
  assertEquals([PciSlot.find(shpc), isHotPlugPort(shpc)], [undefined, true]);
  assertEquals([PciSlot.find(bridge()), isHotPlugPort(bridge())], [undefined, false]);
});

Deno.test("PciSlot clears the events that it took, and writes nothing else of the status", () => {
  const config = hotPlugPort();
  const slot = PciSlot.find(config)!;
  const written: [at: number, value: number][] = [];
  config.write16 = (at, value) => void written.push([at, value]);
  config.view.setUint16(0x58, 0x1c0, true);
  for (const [status, events] of [[0, 0], [0xff, 0x1f], [0x40, 0], [0x1f, 0x1f]] as const) {
    config.view.setUint16(0x5a, status, true);
    slot.poll();
    assertEquals(written.splice(0)[0], [0x5a, events], `status ${status}`);
  }
});
