import type { Command, CommandUnknownOpts } from "@commander-js/extra-typings";
import tab from "@bomb.sh/tab/commander";
import { UsageError } from "../terminal/usage.ts";

/** Tells the script that these are all words. */
const NO_MORE = ":4";
const SHELLS = ["bash", "fish", "powershell", "zsh"];

/** Gives what a word may be, from what of it is typed. */
export type Values = (typed: string) => readonly string[];
/**
 * Finds the values of an option or of an argument.
 *
 * @param flag The option in commander's syntax, or the argument's name in angle brackets.
 * @param command The whole name of its command.
 */
export type FindValues = (flag: string, command: string) => Values | undefined;

/**
 * Carries out `vireo complete`: prints a shell's script, or after `--` what the last word may be.
 *
 * @param program The program whose command lines are completed.
 * @param argv What follows `complete`.
 * @param values What an option's value or an argument may be.
 * @param launcher Path of the program that the script asks.
 * @throws {UsageError} If there is no such shell.
 */
export function complete(
  program: Command,
  argv: readonly string[],
  values: FindValues,
  launcher: string,
): void {
  const completions = tab(program as unknown as Parameters<typeof tab>[0]);
  const [shell = ""] = argv;
  if (shell !== "--") {
    if (argv.length !== 1 || !SHELLS.includes(shell)) {
      throw new UsageError(`complete: expected ${SHELLS.join(", ")}, got '${argv.join(" ")}'`);
    }
    if (shell === "bash") console.log(bashScript(launcher));
    else if (shell === "zsh") console.log(zshScript(launcher));
    else completions.setup("vireo", quoted(launcher), shell);
    return;
  }
  let words = argv.slice(1);
  const last = words.at(-1) ?? "";
  if (words[0] === "complete" && words.length === 2) {
    console.log([...SHELLS.filter((name) => name.startsWith(last)), NO_MORE].join("\n"));
    return;
  }
  if (words[0] === "record" && words.length > 1) {
    if (isOutput(words.at(-2)!)) {
      console.log([...filesLike(last), NO_MORE].join("\n"));
      return;
    }
    // A command follows, but for the recording's own file.
    words = words.slice(1).filter((word, i, all) => !isOutput(word) && !isOutput(all[i - 1] ?? ""));
  }
  // Help is asked of a command by its own words.
  if (words[0] === "help") words = words.slice(1);
  else if (words[1] === "help" && words.length > 2) words = words.toSpliced(1, 1);
  // Those with an optional value have it in their word, or none.
  const optional = new Set(
    commandsOf(program).flatMap(([, { options }]) =>
      options.filter((option) => option.optional).map(({ long }) => long)
    ),
  );
  words = words.filter((word, i) => i === words.length - 1 || !optional.has(word)).flatMap(apart);
  const typed = words.at(-1) ?? "";
  // The parser below takes any word with = for an option and its value.
  if (typed.includes("=")) words = words.with(-1, "");
  for (const [path, command] of commandsOf(program)) {
    const known = completions.commands.get(path);
    for (const { flags, long } of command.options) {
      const option = known?.options.get(long?.slice(2) ?? "");
      const give = values(flags, path);
      if (option === undefined || give === undefined) continue;
      option.handler = (add) => offer(give, typed, add);
    }
    for (const argument of command.registeredArguments) {
      const entry = known?.arguments.get(argument.name());
      const give = values(`<${argument.name()}>`, path);
      if (entry === undefined || give === undefined) continue;
      entry.handler = (add) => offer(give, typed, add);
    }
  }
  completions.parse([...words]);
}

/** An option that has its value in the same word as two words. */
function apart(word: string): string[] {
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(word) ?? [];
  return flag === undefined ? [word] : [flag, value!];
}

function offer(
  give: Values,
  typed: string,
  add: (value: string, description: string) => void,
): void {
  for (const value of give(typed)) if (value.startsWith(typed)) add(value, "");
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
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[/:=] ]] && compopt -o nospace 2>/dev/null || :
  return 0
}
complete -F __vireo_complete vireo`;
}

/**
 * The script for zsh, which may be read twice or lie in `fpath` as `_vireo`. Values with `:` stay whole, and
 * what a folder or a prefix is gets no space.
 */
function zshScript(launcher: string): string {
  return `#compdef vireo
# zsh completion for vireo
_vireo() {
  local value rest item
  local -a ended open
  while IFS=$'\\t' read -r value rest; do
    [[ $value == :* ]] && continue
    item=\${value//:/\\\\:}\${rest:+:$rest}
    [[ $value == *[/:=] ]] && open+=("$item") || ended+=("$item")
  done < <(${quoted(launcher)} complete -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)
  [[ $PREFIX == --*=* ]] && compset -P 1 '*='
  _describe vireo ended -- open -S ''
}
if [[ \${funcstack[1]} == _vireo ]]; then
  _vireo "$@"
else
  (( \$+functions[compdef] )) || { autoload -Uz compinit && compinit; }
  compdef _vireo vireo
fi`;
}
