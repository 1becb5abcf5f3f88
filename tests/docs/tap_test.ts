/**
 * README's lines for a tap interface, as they are typed. Needs root or `sudo`, `/dev/net/tun` and `ip`.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { vireo } from "../cli_helper.ts";
import { testWithRights } from "../with_rights.ts";

const README = new URL("../../README.md", import.meta.url);
/** The interface and the network of README, and those of this test, which others do not use. */
const NAME = { readme: "vireo0", here: "vireodoc0" } as const;
const NETWORK = { readme: "192.0.2.", here: "10.213.79." } as const;

async function run(...words: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(words[0]!, { args: words.slice(1) }).output();
  if (!success) throw new Error(`${words.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

testWithRights(
  import.meta.url,
  "README's tap interface can be made and pinged as it says",
  async () => {
    const text = (await Deno.readTextFile(README)).replaceAll(NAME.readme, NAME.here)
      .replaceAll(NETWORK.readme, NETWORK.here);
    const setUp = /`(ip tuntap add [^`]+)`/.exec(text)![1]!;
    const command = /^\.\/vireo (net ping \S+ --net tap:\w+)/m.exec(text)![1]!;
    const steps = setUp.split(" && ");
    assertEquals(steps.length, 3);
    try {
      for (const step of steps) await run(...step.split(" "));
      for (const target of ["emu", "qtest:aarch64-virt"]) {
        const { code, out, err } = await vireo(`${command} -c 1 --target ${target}`);
        assertEquals([target, code, err], [target, 0, ""]);
        assertMatch(out, /^1 sent, 1 received$/m);
      }
    } finally {
      await run("ip", "link", "delete", NAME.here);
    }
  },
);
