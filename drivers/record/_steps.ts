import { hex, mmioRegisterName } from "@vireo/hal";
import { RecordKind, type RecordReader } from "./format.ts";

/** What a driver does at a step: the kind of record with its numbers, or the text of a META record. */
export interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly text?: string | undefined;
}

/** Names of windows and rings, for messages. */
export interface StepNames {
  window(id: number): { readonly name: string; readonly mmio: boolean };
  ringName(id: number): string;
}

/** A step in words. */
export function stepText(step: Step, names: StepNames): string {
  const { kind, a, b, c } = step;
  switch (kind) {
    case RecordKind.READ8:
    case RecordKind.READ16:
    case RecordKind.READ32:
      return `read ${register(names, a, b)}`;
    case RecordKind.WRITE8:
    case RecordKind.WRITE16:
    case RecordKind.WRITE32:
      return `write ${register(names, a, b)} <- ${hex(c)}`;
    case RecordKind.ALLOC:
      return `allocate ${a} bytes aligned to ${b}`;
    case RecordKind.ADD:
      return `${names.ringName(a)} add ${b} ${step.text ?? ""}`;
    case RecordKind.KICK:
      return `${names.ringName(a)} kick${b === 1 ? " again" : ""}`;
    case RecordKind.POP:
      return `${names.ringName(a)} take a buffer`;
    case RecordKind.LOOK:
      return `${names.ringName(a)} look for a used buffer`;
    case RecordKind.CALLBACKS:
      return `${names.ringName(a)} callbacks ${["off", "on", "delayed"][b]}`;
    case RecordKind.INTERRUPT:
      return `wait for interrupt ${a}`;
    case RecordKind.META:
      return step.text ?? "";
    default:
      return "end";
  }
}

function register(names: StepNames, id: number, offset: number): string {
  const { name, mmio } = names.window(id);
  const register = mmio ? mmioRegisterName(offset) : undefined;
  return `${register ?? hex(offset)} of ${name}`;
}

/** The elements of an ADD record, in words. */
export function elementsText(elements: readonly number[], readable: number): string {
  const parts: string[] = [];
  for (let i = 0; i < elements.length; i += 2) {
    parts.push(`${i < 2 * readable ? "r" : "w"} ${hex(elements[i]!)}+${elements[i + 1]}`);
  }
  return parts.join(", ");
}

/** The fields of a record that make a step. */
interface RecordFields {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly elements: readonly number[];
  json(): unknown;
}

/** A record as a step. */
export function stepOf(record: RecordFields): Step {
  const { kind, a, b, c } = record;
  if (kind === RecordKind.META) {
    return { kind, a, b, c, text: metaText(record.json() as Record<string, unknown>) };
  }
  const text = kind === RecordKind.ADD ? `[${elementsText(record.elements, c)}]` : undefined;
  return { kind, a, b, c, text };
}

/** The steps of META records in words; what they answer is not in them. */
export function metaText(meta: Readonly<Record<string, unknown>>): string {
  const { op, node, index, count, slot, queue, name, size } = meta;
  switch (op) {
    case "open":
      return `open ${node}`;
    case "bar":
      return `open BAR ${index} of ${node}`;
    case "messages":
      return `ask for ${count} messages of ${node}`;
    default:
      return `set up queue ${queue} '${name}' of ${slot} with ${size} descriptors`;
  }
}
