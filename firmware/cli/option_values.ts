import { TRACE_GROUPS } from "@vireo/hal/trace";
import { BOARDS } from "../boards/mod.ts";
import { KINDS } from "../commands/new.ts";
import { BOARD_DEVICES } from "../devices/table.ts";
import { SERVED_NAMES } from "../serve/front_ends.ts";
import type { BoardOption } from "../target/options.ts";
import { DEVICE_IDS } from "../target/sockets.ts";
import { filesLike, type FindValues, type Values } from "./completion.ts";

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
  disk: (typed) => ["none", ...filesLike(typed)],
  file: filesLike,
  path: filesLike,
  dir: filesLike,
  script: filesLike,
  recording: filesLike,
};

/** Values of those whose placeholder tells too little; undefined has none. */
const BY_NAME: Readonly<Record<string, Values | undefined>> = {
  "--with <device>": withDevices,
  "--served <device>": () => SERVED_NAMES,
  "--trace [groups]": () => TRACE_GROUPS,
  // A target of SCSI.
  "--unit <target>": undefined,
  "new <kind>": () => KINDS,
  "serve <device>": (typed) => [...DEVICE_IDS.keys(), ...filesLike(typed)],
  "check <driver>": () => ["driver"],
  "check <script>": (typed) => [...DEVICE_IDS.keys(), ...filesLike(typed)],
  // Files of the device, not of this machine.
  "9p ls <path>": undefined,
  "9p cat <path>": undefined,
  "9p put <path>": undefined,
};

/** Gives the values of options and arguments, for a table of board options. */
export function optionValues(options: Readonly<Record<string, BoardOption>>): FindValues {
  const choices = new Map(Object.values(options).map(({ flag, choices }) => [flag, choices]));
  return (flag, command) => {
    const given = choices.get(flag);
    if (given !== undefined) return () => given;
    const name = flag.startsWith("<") ? `${command} ${flag}` : flag;
    if (name in BY_NAME) return BY_NAME[name];
    return BY_PLACEHOLDER[/[<[]([\w-]+)(?:\.\.\.)?[>\]]/.exec(flag)?.[1] ?? ""];
  };
}

/** Devices of `--with`, and after `NAME=` the files or the kinds that it may be. */
function withDevices(typed: string): string[] {
  const [name, start] = typed.split(/=(.*)/s);
  const device = BOARD_DEVICES.find((device) => device.name === name);
  if (start === undefined || device?.value === undefined) {
    return BOARD_DEVICES.map(({ name }) => name);
  }
  const kinds = /^[a-z|]+$/.test(device.value) ? device.value.split("|") : undefined;
  const files = /^(?:FILE|DIR|UNIX)/.test(device.value) ? filesLike(start) : [];
  return (kinds ?? files).map((value) => `${name}=${value}`);
}

/** Tap interfaces of the host that are up. */
function taps(): string[] {
  return [...new Set(Deno.networkInterfaces().map(({ name }) => name))]
    .filter((name) => /^(?:tap|vireo)/.test(name));
}
