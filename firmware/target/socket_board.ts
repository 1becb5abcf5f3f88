import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import type { SocketsOption } from "./sockets.ts";

/** Devices behind vhost-user sockets, as a board. */
export class SocketBoard implements AsyncDisposable {
  /** The machine. */
  readonly platform: VhostUserPlatform;
  /** No process here is at the other end of the console's ports. */
  readonly hostPort = undefined;

  /** Makes the board; its sockets are connected to when the bus looks at them. */
  constructor({ sockets, reconnect, pairs }: SocketsOption) {
    this.platform = new VhostUserPlatform({ devices: sockets, reconnect, pairs });
  }

  /** Closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.platform[Symbol.asyncDispose]();
  }
}
