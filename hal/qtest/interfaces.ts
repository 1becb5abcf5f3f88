/** Which of its two interfaces a device has. */
export interface DeviceInterfaces {
  /**
   * Whether it has the legacy interface only: version 1 of the registers of slots, and on PCI no
   * capabilities. False by default: the modern interface.
   */
  readonly legacy?: boolean;
  /** Whether it has both, on PCI. */
  readonly transitional?: boolean;
}

/** Says in QEMU's words which interfaces all virtio devices of a machine have. */
export function interfaceArgs(
  { legacy = false, transitional = false }: DeviceInterfaces,
): string[] {
  const on = (value: boolean): string => value ? "on" : "off";
  return [
    ...["-global", `virtio-mmio.force-legacy=${on(legacy)}`],
    ...["-global", `virtio-pci.disable-legacy=${on(!legacy && !transitional)}`],
    ...["-global", `virtio-pci.disable-modern=${on(legacy)}`],
    // Nobody boots from the network, and not every host has the file.
    ...["-global", "virtio-net-pci.romfile="],
  ];
}
