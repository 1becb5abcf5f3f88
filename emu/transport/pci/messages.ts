import type { Interrupt, InterruptWait, PciMessage } from "@vireo/hal";
import { EmuInterrupt } from "../../interrupt.ts";

/** The address of messages, as on x86 machines. */
const ADDRESS = 0xfee0_0000;
/** The data of the first message. */
const FIRST_DATA = 0x4000;

/** A message's interrupt: an edge that is kept until a wait hears of it. */
class Message implements Interrupt {
  readonly polled = false;
  #pending = false;
  readonly #line = new EmuInterrupt(() => this.#pending, () => void (this.#pending = false));

  /** Reports that the message arrived. */
  fire(): void {
    this.#pending = true;
    this.#line.raised();
  }

  wait(options: InterruptWait): Promise<void> {
    return this.#line.wait(options);
  }
}

/** Receives the message signalled interrupts of a machine. */
export class MessageController {
  readonly #free: number[];
  readonly #messages = new Map<number, Message>();

  /** Makes a controller with `count` messages. */
  constructor(count: number) {
    this.#free = Array.from({ length: count }, (_, i) => FIRST_DATA + count - 1 - i);
  }

  /** Reserves messages; undefined if fewer are free. */
  reserve(count: number): PciMessage[] | undefined {
    if (count > this.#free.length) return undefined;
    return Array.from({ length: count }, () => {
      const data = this.#free.pop()!;
      const interrupt = new Message();
      this.#messages.set(data, interrupt);
      return { address: ADDRESS, data, interrupt };
    });
  }

  /** Gives messages back. */
  release(messages: readonly PciMessage[]): void {
    for (const { data } of messages) if (this.#messages.delete(data)) this.#free.push(data);
  }

  /** Takes a function's write. @returns Whether it is a message of this machine. */
  deliver(address: number, data: number): boolean {
    const message = address === ADDRESS ? this.#messages.get(data) : undefined;
    message?.fire();
    return message !== undefined;
  }
}
