/**
 * Formats that hold a disk or a volume: images of emulators, encryption, LVM.
 *
 * @module
 */
import {
  big64,
  type FileSystem,
  number64,
  type ReadAt,
  readPadded,
  text,
  utf8,
  viewOf,
} from "./_fields.ts";

const SECTOR = 512;

/** Recognises an image format by how it starts; QEMU's `block/` has the layouts. */
export function imageFormat(bytes: Uint8Array): FileSystem | undefined {
  const view = viewOf(bytes);
  const image = (type: string, size: number): FileSystem => ({
    type,
    label: "",
    uuid: "",
    size,
    image: true,
  });
  const magic = (length: number): string =>
    new TextDecoder("latin1").decode(bytes.subarray(0, length));
  if (magic(4) === "QFI\xfb") {
    const version = view.getUint32(4);
    return image(version === 1 ? "qcow" : "qcow2", big64(view, 24));
  }
  if (magic(4) === "QED\0") return image("qed", number64(view, 48));
  if (magic(4) === "KDMV") return image("vmdk", number64(view, 12) * SECTOR);
  if (magic(4) === "COWD" || magic(21) === "# Disk DescriptorFile") return image("vmdk", 0);
  if (magic(8) === "vhdxfile") return image("vhdx", 0);
  if (magic(8) === "conectix") return image("vhd", big64(view, 48));
  if (view.getUint32(64, true) === 0xbeda107f) return image("vdi", number64(view, 368));
  if (magic(16) === "WithoutFreeSpace" || magic(16) === "WithouFreSpacExt") {
    return image("parallels", number64(view, 36) * SECTOR);
  }
  return undefined;
}

/** Recognises a VHD of fixed size by its footer, the only thing that it adds to a raw image. */
export async function vhdFooter(read: ReadAt, size: number): Promise<FileSystem | undefined> {
  if (size < 2 * SECTOR) return undefined;
  return imageFormat(await readPadded(read, size - SECTOR, SECTOR));
}

/** LUKS 1 and 2 (cryptsetup's on-disk format, §2.1). */
export function luks(bytes: Uint8Array): FileSystem | undefined {
  if (text(bytes, 0, 4) !== "LUKS" || bytes[4] !== 0xba || bytes[5] !== 0xbe) return undefined;
  const version = viewOf(bytes).getUint16(6);
  const label = version === 2 ? utf8(bytes, 24, 48) : "";
  return { type: "crypto_LUKS", label, uuid: text(bytes, 168, 40), size: 0 };
}

/** LVM 2: a label in one of the first four sectors (lib/format_text/layout.h). */
export function lvm(bytes: Uint8Array): FileSystem | undefined {
  for (let at = 0; at < 4 * SECTOR; at += SECTOR) {
    if (text(bytes, at, 8) !== "LABELONE" || text(bytes, at + 24, 8) !== "LVM2 001") continue;
    const view = viewOf(bytes);
    const header = at + Math.min(view.getUint32(at + 20, true), SECTOR - 40);
    const uuid = text(bytes, header, 32)
      .replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, "$1-$2-$3-$4-$5-$6-$7");
    return { type: "LVM2_member", label: "", uuid, size: number64(view, header + 32) };
  }
  return undefined;
}
