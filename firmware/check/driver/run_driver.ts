import type { DriverInstance, VirtioDriver } from "@vireo/drivers";
import { hasLegacyPciId, violationText } from "@vireo/emu/core";
import type { DeviceModel, EmulatedMachine, HostedDevice } from "@vireo/emu";
import { type DeviceNode, type Dma, type DmaRegion, type Platform, VireoError } from "@vireo/hal";
import { emulateDevice } from "../../devices/table.ts";
import { openSession } from "../../session.ts";
import { EmulatedBoard } from "../../target/emulated_board.ts";
import type { BoardOptions } from "../../target/options.ts";
import type { Vireo, VireoMain } from "../../vireo.ts";
import { UsageError } from "../../terminal/usage.ts";
import { Random } from "../random.ts";
import type { CheckResult, Verdict } from "../run_checks.ts";
import { Findings } from "./findings.ts";
import { RegisterWitness } from "./register_witness.ts";
import { RingWitness } from "./ring_witness.ts";
import { type Rule, ruleOf, ruleOfClause, RULES } from "./rules.ts";
import type { Schedule } from "./schedules.ts";
import { INJECTED, REFUSED, Tempter } from "./tempter.ts";
import { watchNode } from "./window.ts";

/** Milliseconds that a script has, unless the caller says otherwise. */
const SCRIPT_DEADLINE = 5000;
/** Milliseconds for taking the drivers off. */
const END_DEADLINE = 2000;

/** Options of a run. */
export interface DriverRun {
  /** Name of the script in the report. */
  readonly name: string;
  /** The script. */
  readonly main: VireoMain;
  /** Its arguments. */
  readonly args?: readonly string[];
  /** The board, without what schedules change. */
  readonly board: BoardOptions;
  /** Virtio id of the device that it is about; those that are not bound to a bundled driver by default. */
  readonly device?: number;
  /** The schedules. */
  readonly schedules: readonly Schedule[];
  /** The rules that are reported; all by default. */
  readonly rules?: (rule: Rule) => boolean;
  /** Start of the random numbers; 1 by default. */
  readonly seed?: number;
  /** Milliseconds that the script has under each schedule. */
  readonly deadline?: number;
  /** Receives the schedule that is next. */
  readonly onSchedule?: (schedule: Schedule) => void;
}

/** One device of a schedule's board. */
interface WatchedDevice {
  readonly findings: Findings;
  readonly rings: RingWitness;
  readonly tempter: Tempter;
}

/**
 * Runs a script under each schedule.
 *
 * @returns A row for each rule that was looked at.
 * @throws {UsageError} If it drives no device of the board.
 */
export async function runDriver(run: DriverRun): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  /** The schedule that tempts nobody, under which the script did not end: what others would find is the same. */
  let stuck: string | undefined;
  for (const schedule of run.schedules) {
    run.onSchedule?.(schedule);
    const trial = new Trial(run, schedule);
    if (stuck === undefined) results.push(...await trial.run());
    else results.push(trial.skipped(`the script does not end under '${stuck}'`));
    if (trial.stuck && isPlain(schedule)) stuck = schedule.name;
  }
  return results;
}

/** Whether a schedule changes nothing of the board and of how its devices behave. */
function isPlain({ board, ring, temper }: Schedule): boolean {
  return board === undefined && ring === undefined && temper === undefined;
}

/** One script under one schedule. */
class Trial {
  readonly #run: DriverRun;
  readonly #schedule: Schedule;
  readonly #board: BoardOptions;
  readonly #devices: WatchedDevice[] = [];
  readonly #witnesses: RegisterWitness[] = [];
  /** Findings about empty slots. */
  readonly #empty = new Findings();
  #machine: EmulatedMachine | undefined;
  /** Whether the driver said that it needs the modern interface. */
  #modernOnly = false;
  /** Whether the script did not end in time. */
  stuck = false;

  constructor(run: DriverRun, schedule: Schedule) {
    this.#run = run;
    this.#schedule = schedule;
    this.#board = { ...run.board, ...schedule.board };
  }

  async run(): Promise<CheckResult[]> {
    const { device } = this.#run;
    const { legacy, transport } = this.#board;
    if (legacy && transport === "pci" && device !== undefined && !hasLegacyPciId(device)) {
      return [this.skipped("the device has no legacy interface on PCI")];
    }
    const start = performance.now();
    using uncaught = new Uncaught();
    const board = await EmulatedBoard.create(this.#board, emulateDevice, {
      model: (model) => this.#watch(model),
      ring: this.#schedule.ring,
      platform: (machine) => this.#platform(machine),
    });
    const vireo = await openSession(this.#board, board, { args: this.#run.args ?? [] });
    const bundled = new Set(vireo.bus.devices.map(({ driver }) => driver));
    // The bundled drivers have done by now what they do by themselves.
    await new Promise((resolve) => setTimeout(resolve, 1));
    const before = this.#allWrites();
    const ended = await this.#runMain(vireo);
    const idle = ended === undefined && !this.#schedule.mayFail && this.#allWrites() === before;
    const driven = this.#driven(vireo, bundled);
    for (const { rings } of driven) rings.rest();
    const end = await this.#dispose(vireo);
    // The runtime reports what nobody took once no microtask is left.
    await new Promise((resolve) => setTimeout(resolve));
    const untaken = this.#schedule.mayFail ? undefined : uncaught.seen;
    for (const witness of this.#witnesses) witness.end();
    if (this.#modernOnly) return [this.skipped("the driver needs the modern interface")];
    if (idle) {
      throw new UsageError(`check driver: ${this.#run.name} drives no device of the board`);
    }
    this.#takeViolations();
    return this.#rows(
      driven,
      [ended, end, untaken].find((text) => text !== undefined),
      performance.now() - start,
    );
  }

  #allWrites(): number {
    return this.#witnesses.reduce((sum, { writes }) => sum + writes, 0);
  }

  /** Puts itself between a model and its queues. */
  #watch(model: DeviceModel): void {
    const index = this.#devices.length;
    const findings = new Findings();
    const hosted = (): HostedDevice => this.#hosted(index)!;
    const rings = new RingWitness(hosted, () => this.#machine!.memory, findings);
    const random = new Random((this.#run.seed ?? 1) + 1009 * index);
    const temper = this.#schedule.temper ?? {};
    const tempter = new Tempter(model, { hosted, rings, random, temper });
    this.#devices.push({ findings, rings, tempter });
  }

  #hosted(index: number): HostedDevice | undefined {
    const machine = this.#machine!;
    return machine.slots[index]?.device ?? machine.functions[index]?.hosted;
  }

  /** The machine, with its registers and its memory watched. */
  #platform(machine: EmulatedMachine): Platform {
    this.#machine = machine;
    const empty = this.#empty;
    const nodes = machine.nodes().map((node, index): DeviceNode => {
      if (node.kind === "vhost-user") return node;
      const device = this.#devices[index];
      const findings = device?.findings ?? empty;
      const witness = new RegisterWitness({
        hosted: () => this.#hosted(index),
        bus: node.kind,
        rings: device?.rings ??
          new RingWitness(() => this.#hosted(index)!, () => machine.memory, empty),
        findings,
        temper: this.#schedule.temper ?? {},
        step: () => device?.tempter.step(),
        reset: () => device?.tempter.restart(),
      });
      this.#witnesses.push(witness);
      return watchNode(node, witness);
    });
    return {
      name: machine.name,
      dma: this.#memory(machine.dma),
      nodes: () => nodes,
      openMemory: (address, length) => machine.openMemory(address, length),
      diagnose: (name) => machine.diagnose(name),
      [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
    };
  }

  /** Memory whose end is told to those that look at rings. */
  #memory(dma: Dma): Dma {
    return {
      access: dma.access,
      alloc: (size, options): DmaRegion => {
        const region = dma.alloc(size, options);
        const { address, bytes: { length } } = region;
        let freed = false;
        return {
          address,
          get bytes() {
            return region.bytes;
          },
          share: (offset, count, direction) => region.share(offset, count, direction),
          unshare: (offset, count, direction) => region.unshare(offset, count, direction),
          [Symbol.dispose]: () => {
            if (!freed) { for (const { rings } of this.#devices) rings.freed({ address, length }); }
            freed = true;
            region[Symbol.dispose]();
          },
        };
      },
    };
  }

  /** Runs the script. @returns What is wrong with how it ended. */
  async #runMain(vireo: Vireo): Promise<string | undefined> {
    const deadline = this.#run.deadline ?? SCRIPT_DEADLINE;
    let failure: string | undefined;
    const main = async (): Promise<void> => {
      try {
        await this.#run.main(vireo);
      } catch (error) {
        if (this.#schedule.mayFail) return;
        const code = error instanceof VireoError ? error.code : undefined;
        this.#modernOnly = this.#board.legacy && code === "VERSION_1_REQUIRED";
        failure = `the script failed: ${error instanceof Error ? errorText(error) : error}`;
      }
    };
    if (!await inTime(main(), deadline)) {
      this.stuck = true;
      failure = `the script did not end within ${deadline} ms: ${waiting(vireo)}`;
    }
    // Drivers finish what they do at the end of their turn.
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (this.stuck) vireo.abort(new Error(failure));
    return failure;
  }

  /** The devices that the script is about. */
  #driven(
    vireo: Vireo,
    bundled: ReadonlySet<VirtioDriver<DriverInstance> | undefined>,
  ): WatchedDevice[] {
    const { device } = this.#run;
    const found = this.#devices.map((watched, index) => ({
      watched,
      hosted: this.#hosted(index)!,
    }));
    if (device !== undefined) {
      return found.filter(({ hosted }) => hosted.model.deviceId === device).map(({ watched }) =>
        watched
      );
    }
    const names = this.#machine!.nodes().map(({ name }) => name);
    const own = found.filter((_, index) => {
      const bound = vireo.bus.devices.find(({ transport }) => transport.name === names[index]);
      return bound === undefined || !bundled.has(bound.driver);
    });
    // A script that uses bundled drivers only is about all of them.
    return (own.length > 0 ? own : found).map(({ watched }) => watched);
  }

  /** Takes the drivers off. @returns What is wrong with how that ended. */
  async #dispose(vireo: Vireo): Promise<string | undefined> {
    let failure: string | undefined;
    const end = async (): Promise<void> => {
      try {
        await vireo[Symbol.asyncDispose]();
      } catch (error) {
        failure = `the drivers were not taken off: ${
          error instanceof Error ? error.message : error
        }`;
      }
    };
    if (!await inTime(end(), END_DEADLINE)) {
      failure = `the drivers were not taken off within ${END_DEADLINE} ms`;
    }
    for (const { tempter } of this.#devices) tempter.end();
    return this.#schedule.mayFail ? undefined : failure;
  }

  /** Takes the violations that the emulator noted. */
  #takeViolations(): void {
    this.#devices.forEach(({ findings }, index) => {
      for (const violation of this.#hosted(index)!.log) {
        if (violation.reason === INJECTED || violation.reason === REFUSED) continue;
        const { rule, clause, register } = violation;
        // The driver is not to blame for an error that the model itself did not survive.
        if (register === "model" && clause === undefined) continue;
        const id = rule ?? (clause === undefined ? "virtio 1.4 §2" : `virtio 1.4 §${clause}`);
        findings.broke(ruleOfClause(id, `emulator.${clause ?? "other"}`), violationText(violation));
      }
    });
  }

  #rows(driven: readonly WatchedDevice[], failure: string | undefined, ms: number): CheckResult[] {
    const { rules = () => true } = this.#run;
    const rows: CheckResult[] = [];
    driven.forEach((watched, at) => {
      const { findings } = watched;
      if (at === 0) {
        findings.did("run");
        const rule = { ...ruleOf("run.ends"), clauses: this.#schedule.clauses };
        if (failure !== undefined) findings.broke(rule, failure);
        findings.did(...this.#empty.occasions);
        for (const { rule, seen } of this.#empty.broken) findings.broke(rule, seen);
      }
      const broken = new Map(findings.broken.map(({ rule, seen }) => [rule.id, { rule, seen }]));
      const looked = RULES.filter(({ when, id }) => findings.occasions.has(when) || broken.has(id));
      const others = [...broken.values()].map(({ rule }) => rule)
        .filter(({ id }) => !RULES.some((row) => row.id === id));
      for (const rule of [...looked, ...others].filter(rules)) {
        const seen = broken.get(rule.id)?.seen;
        const verdict: Verdict = seen === undefined ? "pass" : rule.should ? "deviates" : "fail";
        const reason = verdict === "deviates" ? `SHOULD: ${rule.expected}` : seen;
        rows.push(this.#row(watched, rule, verdict, reason, seen, ms));
      }
    });
    return rows;
  }

  #row(
    watched: WatchedDevice,
    rule: Rule,
    verdict: Verdict,
    reason: string | undefined,
    seen: string | undefined,
    ms: number,
  ): CheckResult {
    const { name, seed = 1 } = this.#run;
    const schedule = this.#schedule;
    const index = this.#devices.indexOf(watched);
    const bus = this.#board.transport ?? "mmio";
    const clauses = rule.id === "run.ends" ? schedule.clauses : rule.clauses;
    return {
      check: { id: rule.id, clauses, done: schedule.done, expected: rule.expected },
      device: {
        name: this.#machine?.nodes()[index]?.name ?? name,
        id: this.#hosted(index)?.model.deviceId ?? this.#run.device ?? 0,
        bus,
        face: this.#board.legacy ? "legacy" : "modern",
      },
      verdict,
      reason,
      seen,
      history: [],
      ms,
      schedule: schedule.name,
      again: `vireo check driver ${name} --only ${schedule.name} --seed ${seed}`,
    };
  }

  /** The row of a schedule under which nothing is run. */
  skipped(why: string): CheckResult {
    const { name, device = 0 } = this.#run;
    const rule = ruleOf("run.ends");
    const { clauses, done } = this.#schedule;
    return {
      check: { id: rule.id, clauses, done, expected: rule.expected },
      device: { name, id: device, bus: this.#board.transport ?? "mmio", face: "legacy" },
      verdict: "skip",
      reason: why,
      seen: undefined,
      history: [],
      ms: 0,
      schedule: this.#schedule.name,
    };
  }
}

/** Names what a script that does not end may wait for. */
function waiting({ bus }: Vireo): string {
  const queues = bus.outstanding().map(({ device, queue, inFlight, kicked }) => {
    const buffers = inFlight === 1 ? "a buffer" : `${inFlight} buffers`;
    const kick = kicked ? "" : ", and the driver did not kick it";
    return `${device.name} has ${buffers} of queue '${queue}'${kick}`;
  });
  return queues.length > 0 ? queues.join("; ") : "the devices have returned all buffers";
}

/** Takes the errors of promises that nobody waits for, which would end the process. */
class Uncaught implements Disposable {
  /** The first one, in words. */
  seen: string | undefined;

  constructor() {
    addEventListener("unhandledrejection", this.#take);
  }

  readonly #take = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    const { reason } = event;
    this.seen ??= `nobody waits for a promise that fails: ${
      reason instanceof Error ? errorText(reason) : reason
    }`;
  };

  [Symbol.dispose](): void {
    removeEventListener("unhandledrejection", this.#take);
  }
}

/** An error with its causes, in one line. */
function errorText(error: Error): string {
  const cause = error.cause instanceof Error ? `, because ${errorText(error.cause)}` : "";
  return `${error.message}${cause}`;
}

/** Whether a promise is settled in time; it must not reject. */
async function inTime(work: Promise<void>, deadline: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), deadline);
  });
  const done = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return done;
}
