import { assertEquals } from "@std/assert";
import { type DeviceInterfaces, interfaceArgs } from "./interfaces.ts";

const MMIO = ["-global", "virtio-mmio.force-legacy=off"];

function device(text: string, options: DeviceInterfaces = {}): string {
  const args = interfaceArgs(options, ["-device", text]);
  assertEquals(args.slice(0, 3), [
    "-global",
    `virtio-mmio.force-legacy=${options.legacy ? "on" : "off"}`,
    "-device",
  ]);
  assertEquals(args.length, 4);
  return args[3]!;
}

Deno.test("interfaceArgs() gives each virtio device on PCI its interfaces", () => {
  assertEquals(device("virtio-rng-pci"), "virtio-rng-pci,disable-legacy=on,disable-modern=off");
  assertEquals(
    device("virtio-rng-pci,id=a", { legacy: true }),
    "virtio-rng-pci,disable-legacy=off,disable-modern=on,id=a",
  );
  assertEquals(
    device("vhost-user-blk-pci,chardev=c", { transitional: true }),
    "vhost-user-blk-pci,disable-legacy=off,disable-modern=off,chardev=c",
  );
  // QEMU refuses the properties of these.
  assertEquals(device("vhost-user-rng-pci,chardev=c"), "vhost-user-rng-pci,chardev=c");
  assertEquals(
    device("virtio-net-pci"),
    "virtio-net-pci,disable-legacy=on,disable-modern=off,romfile=",
  );
});

Deno.test("interfaceArgs() gives every virtio device its ring features", () => {
  const rings = { packed: true, platformIommu: true };
  assertEquals(
    device("virtio-blk-device,drive=d", rings),
    "virtio-blk-device,packed=on,iommu_platform=on,drive=d",
  );
  assertEquals(
    device("virtio-blk-pci,drive=d", { packed: true }),
    "virtio-blk-pci,disable-legacy=on,disable-modern=off,packed=on,drive=d",
  );
});

Deno.test("interfaceArgs() leaves what it does not know, and what the caller has said", () => {
  for (
    const text of [
      "edu,addr=0x1f",
      "pcie-root-port,id=port1",
      "scsi-hd,drive=virtio-rng-pci",
      "virtserialport,chardev=c",
      "virtio-net-pci-non-transitional",
      "virtio-rng-device",
    ]
  ) assertEquals(device(text), text);
  assertEquals(
    device("virtio-rng-pci,disable-legacy=off"),
    "virtio-rng-pci,disable-modern=off,disable-legacy=off",
  );
  const drive = ["-drive", "virtio-rng-pci", "-device", "edu"];
  assertEquals(interfaceArgs({}, drive), [...MMIO, ...drive]);
});

Deno.test("interfaceArgs() takes QEMU's JSON form of a device", () => {
  assertEquals(JSON.parse(device('{"driver": "virtio-net-pci", "romfile": "x"}')), {
    "disable-legacy": "on",
    "disable-modern": false,
    romfile: "x",
    driver: "virtio-net-pci",
  });
  assertEquals(
    JSON.parse(device('{"driver": "virtio-rng-device"}', { packed: true })),
    { packed: true, driver: "virtio-rng-device" },
  );
  for (const text of ['{"id": "x"}', "{oops"]) assertEquals(device(text), text);
});
