import { assertEquals } from "@std/assert";
import { citations } from "./citations.ts";

Deno.test("citations: every way in which names of tests cite", () => {
  const cases: [string, string[]][] = [
    ["x (dev.mmio.layout.3-5)", ["dev.mmio.layout.3", "dev.mmio.layout.4", "dev.mmio.layout.5"]],
    ["drv.pci.caps.1, .2 and .4: x", ["drv.pci.caps.1", "drv.pci.caps.2", "drv.pci.caps.4"]],
    ["(drv.basic.init.4, .status.1)", ["drv.basic.init.4", "drv.basic.status.1"]],
    ["(drv.pci.avail-notify.1 to .3)", [1, 2, 3].map((n) => `drv.pci.avail-notify.${n}`)],
    ["[drv.net.mq.4] x, .5", ["drv.net.mq.4"]],
    ["drv.mmio.layout.6, .7, drv.mmio.init.3", [
      "drv.mmio.layout.6",
      "drv.mmio.layout.7",
      "drv.mmio.init.3",
    ]],
    ["nothing of dev.rng or 1.4", []],
  ];
  for (const [text, expected] of cases) assertEquals(citations(text), expected, text);
});
