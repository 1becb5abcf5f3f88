import { BOARDS } from "../boards/mod.ts";
import { BOARD_DEVICES } from "../devices/table.ts";
import type { BoardOption } from "../target/options.ts";
import { filesLike, type Values } from "./completion.ts";

/** Values of options and arguments that completion offers, by the word in angle brackets. */
const BY_PLACEHOLDER: Readonly<Record<string, Values>> = {
  target: () => [
    "emu",
    "devmem",
    ...["qtest", "qemu"].flatMap((kind) =>
      BOARDS.filter(({ targets }) => (targets as readonly string[]).includes(kind))
        .map(({ name }) => `${kind}:${name}`)
    ),
    "vhost-user:",
    "replay:",
  ],
  zones: () => ["host-managed", "host-aware"],
  wire: () => ["hub", "user", "none", ...taps().map((name) => `tap:${name}`)],
  device: () => BOARD_DEVICES.map(({ name }) => name),
  disk: (typed) => ["none", ...filesLike(typed)],
  file: filesLike,
  path: filesLike,
  dir: filesLike,
  script: filesLike,
  recording: filesLike,
};

/** Gives an option's values for a table of board options. */
export function optionValues(
  options: Readonly<Record<string, BoardOption>>,
): (flag: string) => Values | undefined {
  const choices = new Map(Object.values(options).map(({ flag, choices }) => [flag, choices]));
  return (flag) => {
    const given = choices.get(flag);
    if (given !== undefined) return () => given;
    // Only --with has the devices of this table; --device is QEMU's, --console has choices of its own.
    if (/^--(?:device|console) /.test(flag)) return undefined;
    return BY_PLACEHOLDER[/[<[]([\w-]+)(?:\.\.\.)?[>\]]/.exec(flag)?.[1] ?? ""];
  };
}

/** Tap interfaces of the host that are up. */
function taps(): string[] {
  return [...new Set(Deno.networkInterfaces().map(({ name }) => name))]
    .filter((name) => /^(?:tap|vireo)/.test(name));
}
