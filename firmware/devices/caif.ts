import { caifDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** Frames to and from a modem; the emulated one sends back what it gets. */
export const CAIF: BoardDevice = {
  name: "caif",
  deviceId: DeviceId.CAIF,
  summary: "frames to and from a modem",
  driver: () => Promise.resolve(caifDriver),
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with caif: takes no value, got '${value}'`);
    const { CaifDevice } = await import("@vireo/emu");
    return new CaifDevice({ onFrame: (frame, modem) => modem.send(frame) });
  },
  commands: [{
    name: "send",
    summary: "send a frame, and print the modem's",
    arguments: [["<text>", "1 to 4032 bytes"]],
    options: [["--deadline <ms>", "how long to wait for the frame", "1000"]],
    example: "vireo caif send hello",
    async run(vireo, { args, flags }) {
      const deadline = parseCount(String(flags["deadline"]), "--deadline");
      const waiting = { signal: vireo.signal, deadline };
      const caif = vireo.get(caifDriver);
      await caif.send(new TextEncoder().encode(args[0]), waiting);
      const answer = new TextDecoder().decode(await caif.receive(waiting));
      console.log(flags["json"] ? JSON.stringify({ answer }) : answer);
    },
  }],
};
