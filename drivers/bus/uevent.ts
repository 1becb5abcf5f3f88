/** The kind of a device event, as the kernel's `kobject_action`. */
export type UeventAction = "add" | "bind" | "unbind" | "remove" | "change";

/** A device event in the form of Linux's uevents. */
export interface Uevent {
  /** The kind of event; `change` for a delivered config change and for a recovery. */
  readonly action: UeventAction;
  /** Name of the device, for example `virtio0`. */
  readonly device: string;
  /**
   * The environment, one `KEY=value` a line in the kernel's order: ACTION, DEVPATH, SUBSYSTEM, DRIVER
   * if one is bound, MODALIAS, SEQNUM; each line ends in a newline.
   */
  readonly text: string;
}

/** Receives every uevent, in order; it must not throw. */
export type UeventSink = (event: Uevent) => void;

/**
 * The modalias of a device, as in Linux: `virtio:d%08Xv%08X`.
 *
 * @param deviceId Virtio device id.
 * @param vendorId Virtio vendor id.
 *
 * @example
 * ```ts
 * import { modalias } from "@vireo/drivers";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(modalias(2, 0x554d4551), "virtio:d00000002v554D4551");
 * ```
 */
export function modalias(deviceId: number, vendorId: number): string {
  return `virtio:d${upper(deviceId)}v${upper(vendorId)}`;
}

function upper(id: number): string {
  return id.toString(16).toUpperCase().padStart(8, "0");
}
