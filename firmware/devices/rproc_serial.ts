import { rprocSerialDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The serial line of a remote processor; the emulated one sends back what it gets. */
export const RPROC_SERIAL: BoardDevice = {
  name: "rproc-serial",
  deviceId: DeviceId.RPROC_SERIAL,
  summary: "the serial line of a remote processor",
  driver: () => Promise.resolve(rprocSerialDriver),
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with rproc-serial: no value, got '${value}'`);
    const { loopbackPort, RprocSerialDevice } = await import("@vireo/emu");
    return new RprocSerialDevice(loopbackPort());
  },
  commands: [{
    name: "send",
    summary: "send text, and print as many bytes as come back",
    arguments: [["<text>", "what to send"]],
    options: [["--deadline <ms>", "how long to wait for the answer", "1000"]],
    example: "vireo rproc-serial send hello",
    async run(vireo, { args, flags }) {
      const waiting = { signal: vireo.signal, deadline: Number(flags["deadline"]) };
      using port = (await vireo.get(rprocSerialDriver).port(0, waiting)).open();
      const text = new TextEncoder().encode(args[0]);
      await port.write(text, waiting);
      const decoder = new TextDecoder();
      let answer = "";
      for (let left = text.length; left > 0;) {
        const bytes = await port.read(waiting);
        if (bytes === null) break;
        left -= bytes.length;
        answer += decoder.decode(bytes, { stream: true });
      }
      console.log(flags["json"] ? JSON.stringify({ sent: args[0], answer }) : answer);
    },
  }],
};
