import type { BoardOptions } from "../target/options.ts";
import { openVireo } from "../session.ts";
import type { BoardDevice, DeviceCall, DeviceCommand } from "./board_device.ts";
import { BOARD_DEVICES, having } from "./table.ts";

/**
 * Carries out a subcommand of a device on a board that has it.
 *
 * @param board The board; it gets the device if it has none.
 */
export async function runDeviceCommand(
  device: BoardDevice,
  command: DeviceCommand,
  board: BoardOptions,
  call: DeviceCall,
): Promise<void> {
  await using vireo = await openVireo(having(board, device.name));
  await command.run(vireo, call);
}

/**
 * Finds a subcommand by its whole name, `scsi list`.
 *
 * @returns Nothing if it is no device's.
 */
export function deviceCommand(
  name: string,
): { readonly device: BoardDevice; readonly command: DeviceCommand } | undefined {
  for (const device of BOARD_DEVICES) {
    const command = device.commands.find((command) => `${device.name} ${command.name}` === name);
    if (command !== undefined) return { device, command };
  }
  return undefined;
}
