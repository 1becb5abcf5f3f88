/**
 * Reads an Ethernet address.
 *
 * @param text Six hex bytes, as `52:54:00:12:34:56`.
 * @throws {TypeError} If the text is not one.
 *
 * @example
 * ```ts
 * import { formatMac, parseMac } from "@vireo/drivers/net";
 * import { assertEquals } from "@std/assert";
 *
 * const mac = parseMac("52:54:00:12:34:56");
 * assertEquals([mac[0], formatMac(mac)], [0x52, "52:54:00:12:34:56"]);
 * ```
 */
export function parseMac(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new TypeError(
      `Cannot parse "${text}": expected an Ethernet address such as 52:54:00:12:34:56`,
    );
  }
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

/**
 * Writes an Ethernet address as `52:54:00:12:34:56`.
 *
 * @example
 * ```ts
 * import { formatMac } from "@vireo/drivers/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(formatMac(Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56)), "52:54:00:12:34:56");
 * ```
 */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
