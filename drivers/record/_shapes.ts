type Fields = Readonly<Record<string, unknown>>;
/** Whether a value may be in a recording's JSON. */
type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText: Check = (value) => typeof value === "string";
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isAny: Check = () => true;
const optional = (check: Check): Check => (value) => value === undefined || check(value);
const orNull = (check: Check): Check => (value) => value === null || check(value);
const listOf = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const fields = (checks: Readonly<Record<string, Check>>): Check => (value) =>
  isObject(value) && Object.entries(checks).every(([name, check]) => check(value[name]));

const isMmioNode = fields({ name: isText, base: isCount, size: isCount, irq: optional(isCount) });
const isPciNode = fields({
  name: isText,
  vendor: isCount,
  device: isCount,
  address: fields({ segment: isCount, bus: isCount, device: isCount, function: isCount }),
});
const isBar = fields({ index: isCount, space: isText, address: isCount, size: isCount });
const isMessage = fields({ address: isCount, data: isCount, source: isCount });
const open = { node: isText, window: isCount, source: optional(isCount) };
const isMmioOpen = fields({ ...open, source: isCount, bars: optional(() => false) });
const isPciOpen = fields({
  ...open,
  bars: listOf(isBar),
  config: fields({ name: isText, size: isCount }),
});

/** Fields of the rare steps, by their `op`. */
const STEPS: ReadonlyMap<unknown, Check> = new Map([
  ["open", (value) => isMmioOpen(value) || isPciOpen(value)],
  ["bar", fields({ node: isText, index: isCount, name: isText, size: isCount, window: isCount })],
  ["messages", fields({ node: isText, count: isCount, given: orNull(listOf(isMessage)) })],
  ["ring", fields({ slot: isText, queue: isCount, name: isText, size: isCount, ring: isCount })],
]);

/** Whether JSON is the header of a recording. */
export const isHeader: Check = fields({
  platform: isText,
  access: optional(isText),
  nodes: listOf((node) =>
    isObject(node) &&
    (node["kind"] === "mmio" ? isMmioNode(node) : node["kind"] === "pci" && isPciNode(node))
  ),
  program: isAny,
});

/** Whether JSON is a rare step. */
export function isMeta(value: unknown): boolean {
  return isObject(value) && STEPS.get(value["op"])?.(value) === true;
}

/** Whether JSON is a diagnosis: an error, or that there is none any more. */
export const isDiagnosis: Check = fields({
  node: isText,
  code: optional(isText),
  message: orNull(isText),
});
