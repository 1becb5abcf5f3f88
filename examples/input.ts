// Prints a few events of an input device. On the emulator it types for itself.
//
//   vireo run --with input examples/input.ts
//   vireo run --with input --target qtest:aarch64-virt examples/input.ts
import { inputDriver } from "@vireo/drivers/input";
import { InputDevice } from "@vireo/emu/input";
import { InputType } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

const KEY_V = 47;

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const input = vireo.get(inputDriver);
  console.log(`${input.name} has ${input.codes.get(InputType.KEY)?.size ?? 0} keys`);
  using events = input.events({ deadline: 5000, signal: vireo.signal });

  const emulated = vireo.emulated?.extras.get("input");
  if (emulated instanceof InputDevice) emulated.tap(KEY_V);
  const key = { type: "qcode", data: "v" };
  const press = [true, false].map((down) => ({ type: "key", data: { down, key } }));
  await vireo.qmp?.execute("input-send-event", { events: press });

  for await (const { type, code, value } of events) {
    if (type === InputType.KEY) console.log(`key ${code} ${value ? "pressed" : "released"}`);
    if (type === InputType.KEY && value === 0) break;
  }
}
