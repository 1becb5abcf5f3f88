// Gets an address from the network and fetches a file from a server of the host.
//
//   python3 -m http.server 8000 --bind 127.0.0.1 &
//   vireo run --target qtest:aarch64-virt examples/fetch.ts http://10.0.2.2:8000/README.md
import { IpStack } from "@vireo/firmware/ip";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls; without a URL, only the lease is shown. */
export default async function main({ net, args, signal }: Vireo): Promise<void> {
  await using ip = await IpStack.dhcp(net, { signal });
  console.log(`${ip.address} by ${ip.lease?.server}, router ${ip.config.router}`);
  const [url] = args;
  if (url === undefined) return;
  const { status, body } = await ip.fetch(url, { signal });
  const hash = new Uint8Array(
    await crypto.subtle.digest("SHA-256", await new Response(body).arrayBuffer()),
  );
  console.log(`status ${status}, SHA-256 ${hash.toHex()}`);
}
