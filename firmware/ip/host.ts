import type { WaitOptions } from "@vireo/drivers/core";
import type { TcpConnection } from "./tcp.ts";
import type { Timers } from "@vireo/drivers/core";

/** An address and its network. */
export interface IpConfig {
  /** Our address. */
  readonly address: string;
  /** The network's mask; 255.255.255.0 by default. */
  readonly mask?: string;
  /** Where packets to other networks go. */
  readonly router?: string | undefined;
}

/** Takes a datagram. */
export type UdpHandler = (from: { address: string; port: number }, data: Uint8Array) => void;

/** A host that sends and receives datagrams, as DHCP needs it. */
export interface UdpHost {
  /** Our Ethernet address. */
  readonly mac: Uint8Array;
  /** Time. */
  readonly timers: Timers;
  /** A random number, 0 to 2^32 - 1. */
  random(): number;
  /** Takes the datagrams of a port until it is disposed. */
  listenUdp(port: number, handler: UdpHandler): Disposable;
  /** Sends a datagram. */
  sendUdp(
    from: number,
    to: { readonly address: string; readonly port: number },
    data: Uint8Array,
  ): Promise<void>;
}

/** A connection, as HTTP needs it. */
export type TcpStream = Pick<TcpConnection, "readable" | "writable" | "close" | "reset">;

/** A host that opens connections, as HTTP needs it. */
export interface TcpClient {
  /** Time. */
  readonly timers: Timers;
  /** Connects to a port. */
  connect(
    to: { readonly host: string; readonly port: number },
    options?: WaitOptions,
  ): Promise<TcpStream>;
}
