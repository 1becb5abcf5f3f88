import type { Command, CommandUnknownOpts } from "@commander-js/extra-typings";
import tab from "@bomb.sh/tab/commander";
import { UsageError } from "../terminal/usage.ts";

/** Tells the script that these are all words. */
const NO_MORE = ":4";
const SHELLS = ["bash", "fish", "powershell", "zsh"];

/** Gives what a word may be, from what of it is typed. */
export type Values = (typed: string) => readonly string[];

/**
 * Carries out `vireo complete`: prints a shell's script, or after `--` what the last word may be.
 *
 * @param program The program whose command lines are completed.
 * @param argv What follows `complete`.
 * @param values What an option's value may be, by its flag in commander's syntax.
 * @param launcher Path of the program that the script asks.
 * @throws {UsageError} If there is no such shell.
 */
export function complete(
  program: Command,
  argv: readonly string[],
  values: (flag: string) => Values | undefined,
  launcher: string,
): void {
  const completions = tab(program as unknown as Parameters<typeof tab>[0]);
  const [shell = ""] = argv;
  if (shell !== "--") {
    if (argv.length !== 1 || !SHELLS.includes(shell)) {
      throw new UsageError(`complete: expected ${SHELLS.join(", ")}, got '${argv.join(" ")}'`);
    }
    if (shell === "bash") console.log(bashScript(launcher));
    else completions.setup("vireo", quoted(launcher), shell);
    return;
  }
  let words = argv.slice(1);
  const last = words.at(-1) ?? "";
  if (words[0] === "record" && words.length > 1) {
    if (isOutput(words.at(-2)!)) {
      console.log([...filesLike(last), NO_MORE].join("\n"));
      return;
    }
    // A command follows, but for the recording's own file.
    words = words.slice(1).filter((word, i, all) => !isOutput(word) && !isOutput(all[i - 1] ?? ""));
  }
  const typed = last.startsWith("--") ? last.replace(/^[^=]*=?/, "") : last;
  for (const [path, command] of commandsOf(program)) {
    const known = completions.commands.get(path);
    for (const { flags, long } of command.options) {
      const option = known?.options.get(long?.slice(2) ?? "");
      const give = values(flags);
      if (option === undefined || give === undefined) continue;
      option.handler = (add) => give(typed).forEach((value) => add(value, ""));
    }
    for (const argument of command.registeredArguments) {
      const entry = known?.arguments.get(argument.name());
      const give = values(`<${argument.name()}>`);
      if (entry === undefined || give === undefined) continue;
      entry.handler = (add) => give(typed).forEach((value) => add(value, ""));
    }
  }
  completions.parse([...words]);
}

function isOutput(word: string): boolean {
  return word === "-o" || word === "--output";
}

/** The commands with their groups' names before theirs. */
function commandsOf(command: CommandUnknownOpts, parent = ""): [string, CommandUnknownOpts][] {
  return command.commands.flatMap((child): [string, CommandUnknownOpts][] => [
    [parent + child.name(), child],
    ...commandsOf(child, `${parent}${child.name()} `),
  ]);
}

/** Files and folders that start so. */
export function filesLike(typed: string): string[] {
  const folder = typed.replace(/[^/]*$/, "");
  try {
    return [...Deno.readDirSync(folder === "" ? "." : folder)]
      .filter(({ name }) => !name.startsWith(".") || typed.startsWith(`${folder}.`))
      .map(({ name, isDirectory }) => `${folder}${name}${isDirectory ? "/" : ""}`).sort();
  } catch {
    // Nothing is there that it could be.
    return [];
  }
}

function quoted(text: string): string {
  return /^[\w@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * The script for bash, which needs no other package, may be read twice, and completes `./vireo` as well: it
 * splits the line itself, because readline also breaks words at `:` and `=`, and gets the rest only.
 */
function bashScript(launcher: string): string {
  return `# bash completion for vireo
__vireo_complete() {
  local line=\${COMP_LINE:0:COMP_POINT} words=() value rest
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local cur=\${words[\${#words[@]} - 1]}
  local typed=$cur
  [[ $cur == --*=* ]] && typed=\${cur#*=}
  local given=""
  [[ $typed == *[:=]* && $COMP_WORDBREAKS == *:* ]] && given=\${typed%"\${typed##*[:=]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r value rest; do
    [[ $value == :* || $value != "$typed"* ]] || COMPREPLY+=("\${value#"$given"}")
  done < <(${quoted(launcher)} complete -- "\${words[@]:1}" 2>/dev/null)
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[/:=] ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F __vireo_complete vireo`;
}
