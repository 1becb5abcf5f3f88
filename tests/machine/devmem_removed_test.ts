// Needs root or `sudo`, `/dev/net/tun` and `ip`.
import { assertEquals } from "@std/assert";
import { FileMmio } from "@vireo/hal/discover";
import { Tap } from "../../emu/backends/tap.ts";
import { testWithRights } from "../with_rights.ts";

// An interface stands for a PCI function: what sysfs has of either goes with it, also where it is open.
testWithRights(
  import.meta.url,
  "registers behind a file of sysfs that Linux has removed are all ones",
  () => {
    const tap = Tap.open("vireos%d");
    using file = new FileMmio("gone", `/sys/class/net/${tap.interfaceName}/mtu`);
    assertEquals(file.read32(0), 0x3030_3531, "1500");
    tap[Symbol.dispose]();
    assertEquals([file.read8(0), file.read16(2), file.read32(0)], [0xff, 0xffff, 0xffff_ffff]);
    file.write32(0, 0x3030_3931);
    assertEquals(file.read32(0), 0xffff_ffff);
  },
);
