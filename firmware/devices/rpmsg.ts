import { rpmsgDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The service of the emulated remote processor: the name of Linux's sample driver. */
const SERVICE = "rpmsg-client-sample";

/** Messages to a remote processor; the emulated one has a service that answers with what it got. */
export const RPMSG: BoardDevice = {
  name: "rpmsg",
  deviceId: DeviceId.RPMSG,
  summary: "messages to and from a remote processor",
  driver: () => Promise.resolve(rpmsgDriver),
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with rpmsg: takes no value, got '${value}'`);
    const { RpmsgDevice } = await import("@vireo/emu");
    return new RpmsgDevice({
      services: [{ name: SERVICE, address: 1024, handle: (_, bytes, reply) => reply(bytes) }],
    });
  },
  commands: [{
    name: "send",
    summary: "send a message to a service, and print its answer",
    arguments: [["<text>", "at most 496 bytes"]],
    options: [
      ["--service <name>", "which service", SERVICE],
      ["--deadline <ms>", "how long to wait for it and for its answer", "1000"],
    ],
    example: "vireo rpmsg send hello",
    async run(vireo, { args, flags }) {
      const deadline = parseCount(String(flags["deadline"]), "--deadline");
      const waiting = { signal: vireo.signal, deadline };
      const rpmsg = vireo.get(rpmsgDriver);
      const { address } = await rpmsg.channel(String(flags["service"]), waiting);
      using endpoint = rpmsg.endpoint({ remote: address });
      await endpoint.send(new TextEncoder().encode(args[0]), waiting);
      const { from, bytes } = await endpoint.receive(waiting);
      const answer = new TextDecoder().decode(bytes);
      console.log(flags["json"] ? JSON.stringify({ from, answer }) : answer);
    },
  }],
};
