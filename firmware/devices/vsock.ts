import type { StreamPort } from "@vireo/emu";
import { vsockDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { writeAll } from "../terminal/output.ts";
import { parseCount } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The port at which a host without unix sockets says everything back. */
const ECHO = 7;

/** Sockets between guest and host; the emulated host has unix sockets, or an echo at port 7. */
export const VSOCK: BoardDevice = {
  name: "vsock",
  deviceId: DeviceId.VSOCK,
  summary: "sockets between guest and host",
  value: "UNIX_SOCKET_PATH",
  driver: () => Promise.resolve(vsockDriver),
  async emulate(value, cleanup) {
    const { UnixVsockHost, VsockDevice } = await import("@vireo/emu");
    if (value === undefined) {
      const echo = (): StreamPort => new TransformStream<Uint8Array, Uint8Array>();
      const host = { connect: (port: number) => port === ECHO ? echo() : undefined };
      return new VsockDevice({ host });
    }
    const host = cleanup.use(new UnixVsockHost(value));
    const model = new VsockDevice({ host });
    host.listen(model);
    return model;
  },
  commands: [
    {
      name: "send",
      summary: "connect to a port of the host, send text, and print what comes until the end",
      arguments: [["<port>", "which port"], ["<text>", "what to send"]],
      options: [["--deadline <ms>", "how long to wait for the connection", "2000"]],
      example: "vireo vsock send 7 hello",
      async run(vireo, { args, flags }) {
        const port = parseCount(args[0]!, "port");
        const deadline = parseCount(String(flags["deadline"]), "--deadline");
        const vsock = vireo.get(vsockDriver);
        await using connection = await vsock.connect(port, { deadline, signal: vireo.signal });
        const writer = connection.writable.getWriter();
        const sending = writer.write(new TextEncoder().encode(args[1])).then(() => writer.close());
        let answer = "";
        const decoder = new TextDecoder();
        for await (const bytes of connection.readable) {
          if (flags["json"]) answer += decoder.decode(bytes, { stream: true });
          else await writeAll(bytes);
        }
        await sending;
        if (flags["json"]) console.log(JSON.stringify({ port, answer }));
        else console.log();
      },
    },
    {
      name: "listen",
      summary: "take one connection of the host at a port, and say everything back to it",
      arguments: [["<port>", "which port"]],
      options: [["--deadline <ms>", "how long to wait for it", "30000"]],
      example: "vireo vsock listen 5000 --with vsock=/run/vireo.sock",
      async run(vireo, { args, flags }) {
        const port = parseCount(args[0]!, "port");
        const deadline = parseCount(String(flags["deadline"]), "--deadline");
        using listener = vireo.get(vsockDriver).listen(port);
        await using connection = await listener.accept({ deadline, signal: vireo.signal });
        let count = 0;
        const counting = new TransformStream<Uint8Array, Uint8Array>({
          transform(bytes, out) {
            count += bytes.length;
            out.enqueue(bytes);
          },
        });
        await connection.readable.pipeThrough(counting)
          .pipeTo(connection.writable, { signal: vireo.signal });
        const { peerCid, peerPort } = connection;
        if (flags["json"]) console.log(JSON.stringify({ peerCid, peerPort, bytes: count }));
        else console.log(`${count} bytes from ${peerCid}:${peerPort} said back`);
      },
    },
  ],
};
