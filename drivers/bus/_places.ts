import type { DeviceNode } from "@vireo/hal";
import type { BusDevice } from "./_bus_device.ts";

/** A slot that could not be used. */
export interface SlotError {
  /** Name of the slot. */
  readonly slot: string;
  /** The error. */
  readonly error: Error;
}

/** Which node of which machine each device came from, so that none is registered twice. */
export class Places {
  /** Slots that could not be used, by the last look at their machine. */
  readonly errors: SlotError[] = [];
  /** A node is here from the moment that its device is looked for. */
  readonly #machines = new WeakMap<object, Map<string, BusDevice | undefined>>();
  readonly #errors = new WeakMap<object, SlotError[]>();

  /** The nodes of a machine by name, which machines of tests may give to more than one. */
  static keyed(nodes: readonly DeviceNode[]): Map<string, DeviceNode> {
    const keyed = new Map<string, DeviceNode>();
    for (const node of nodes) {
      let key = node.name;
      while (keyed.has(key)) key += "'";
      keyed.set(key, node);
    }
    return keyed;
  }

  /** Takes a node; false if its device is on the bus already, or on its way there. */
  claim(machine: object, key: string): boolean {
    const nodes = this.#machines.get(machine) ?? new Map<string, BusDevice | undefined>();
    this.#machines.set(machine, nodes);
    if (nodes.has(key)) return false;
    nodes.set(key, undefined);
    return true;
  }

  /** Gives a node back. */
  release(machine: object, key: string): void {
    this.#machines.get(machine)?.delete(key);
  }

  /** Notes what a node has become. */
  fill(machine: object, key: string, device: BusDevice): void {
    this.#machines.get(machine)?.set(key, device);
  }

  /** The devices of a machine, by the keys of their nodes. */
  of(machine: object): [key: string, device: BusDevice][] {
    return [...this.#machines.get(machine) ?? []].flatMap(([key, device]) =>
      device === undefined ? [] : [[key, device]]
    );
  }

  /** Forgets a machine's errors, before it is looked at again. */
  forgetErrors(machine: object): void {
    const old = this.#errors.get(machine) ?? [];
    for (const error of old.splice(0)) this.errors.splice(this.errors.indexOf(error), 1);
  }

  /** Notes that a slot could not be used. */
  fail(machine: object, { name }: DeviceNode, error: Error): void {
    const entry = { slot: name, error };
    this.errors.push(entry);
    const own = this.#errors.get(machine) ?? [];
    own.push(entry);
    this.#errors.set(machine, own);
  }
}
