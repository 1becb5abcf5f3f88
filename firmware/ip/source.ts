import { UsageError } from "../terminal/usage.ts";
import type { NetOption } from "../target/option_values.ts";
import { formatIpv4, parseIpv4 } from "./ethernet.ts";

/** Our address on the emulator's hub and on QEMU's user network. */
const USUAL_SOURCE = "10.0.2.15";
/** The peer on either. */
const USUAL_PEER = "10.0.2.2";
/** The host number that is tried first on a network of which only the host's own address is known. */
const FIRST_TRIED = 15;

/** An address of an interface of the host. */
export type HostAddress = Pick<
  Deno.NetworkInterfaceInfo,
  "name" | "family" | "address" | "netmask"
>;

/**
 * Chooses the address to send from, so that answers find their way back: over a tap interface the host's
 * kernel answers only what is on a network of that interface.
 *
 * @param net The board's wire.
 * @param target The IPv4 address to send to.
 * @param interfaces The host's addresses; a test may have others.
 * @throws {UsageError} If the wire is a tap interface that has no network with the target.
 */
export function sourceFor(
  net: NetOption | undefined,
  target: string,
  interfaces: readonly HostAddress[] = Deno.networkInterfaces(),
): string {
  if (net?.kind !== "tap") return USUAL_SOURCE;
  const own = networksOf(net.name, interfaces);
  if (own.length === 0) {
    throw new UsageError(
      `--source: must be given, because ${net.name} has no IPv4 address on this host (to give it one: ` +
        `ip addr add 192.0.2.1/24 dev ${net.name})`,
    );
  }
  const to = number(target);
  for (const { address, mask } of own) {
    if ((to & mask) !== (address & mask)) continue;
    // The network's own number and its broadcast address are nobody's; a network of two has neither.
    const last = ~mask >>> 0;
    const [from, most] = last === 1 ? [0, 1] : [1, last - 1];
    const start = Math.min(Math.max(FIRST_TRIED, from), most);
    for (let i = 0; i <= Math.min(most - from, 2); i++) {
      const candidate =
        (((address & mask) >>> 0) + from + (start - from + i) % (most - from + 1)) >>> 0;
      if (candidate !== to && candidate !== address) return text(candidate);
    }
    throw new UsageError(
      `--source: must be given, because ${
        names(own)
      } of ${net.name} has no room for a third address`,
    );
  }
  throw new UsageError(
    `address: ${target} must be on a network of ${net.name}, which has ${names(own)}; ` +
      `give --source if another host on the wire has it`,
  );
}

/** IPv4 address of a host that is on the wire for certain: the emulator's peer, QEMU's router or the host's kernel. */
export function peerOn(
  net: NetOption | undefined,
  interfaces: readonly HostAddress[] = Deno.networkInterfaces(),
): string {
  const own = net?.kind === "tap" ? networksOf(net.name, interfaces)[0] : undefined;
  return own === undefined ? USUAL_PEER : text(own.address);
}

/**
 * Says why answers may not come back to an address that the user chose.
 *
 * @returns Nothing if they should, or if nothing is known of the wire.
 */
export function noWayBack(
  net: NetOption | undefined,
  source: string,
  interfaces: readonly HostAddress[] = Deno.networkInterfaces(),
): string | undefined {
  if (net?.kind !== "tap") return undefined;
  const own = networksOf(net.name, interfaces);
  const from = number(source);
  if (own.length === 0 || own.some(({ address, mask }) => (from & mask) === (address & mask))) {
    return undefined;
  }
  return `--source: ${source} is on no network of ${net.name}, which has ${
    names(own)
  }, so answers may not come back`;
}

interface Network {
  readonly address: number;
  readonly mask: number;
}

/** The IPv4 networks of an interface on which there is room for somebody else. */
function networksOf(name: string, interfaces: readonly HostAddress[]): Network[] {
  return interfaces.filter((entry) => entry.name === name && entry.family === "IPv4")
    .map((entry) => ({ address: number(entry.address), mask: number(entry.netmask) }))
    .filter(({ mask }) => ~mask >>> 0 >= 1);
}

function names(networks: readonly Network[]): string {
  return networks.map(({ address, mask }) =>
    `${text(address)}/${32 - Math.log2((~mask >>> 0) + 1)}`
  )
    .join(" and ");
}

function number(address: string): number {
  return new DataView(parseIpv4(address).buffer).getUint32(0);
}

function text(address: number): string {
  return formatIpv4(Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address));
}
