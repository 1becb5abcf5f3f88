import { FeatureSet, type VhostUserLease, type VhostUserNode, VireoError } from "@vireo/hal";

/** A back end of a vhost-user socket that notes each message, and refuses those it is told to. */
export class NotedLease implements VhostUserNode {
  readonly kind = "vhost-user";
  readonly name = "vhost-user:test";
  readonly deviceId: number;
  /** The messages, in order. */
  readonly told: string[] = [];
  /** How often the back end said that the configuration changed. */
  configChanges = 0;
  /** Queues with an interrupt that was not taken. */
  readonly interrupts: Set<number> = new Set();
  /** Code of the error that the next messages of a name end with. */
  readonly refuses: Map<string, "COMMAND_REFUSED" | "CONFIG_ACCESS" | "TIMEOUT"> = new Map();
  /** Status, which reads as it was written. */
  status = 0;

  constructor(deviceId = 4) {
    this.deviceId = deviceId;
  }

  /** Takes the messages so far. */
  take(): string[] {
    return this.told.splice(0);
  }

  open(): VhostUserLease {
    const tell = (name: string, ...values: unknown[]): void => {
      this.told.push([name, ...values].join(" "));
      const code = this.refuses.get(name);
      if (code !== undefined) throw new VireoError(code, `No ${name}`);
    };
    const changes = (): number => this.configChanges;
    const lease = {
      queues: 2,
      hasConfig: true,
      get configChanges(): number {
        return changes();
      },
      readFeatures: () => FeatureSet.fromWords(0x30000000, 1),
      writeFeatures: (features: FeatureSet) => tell("features", ...features),
      readStatus: () => this.status,
      writeStatus: (value: number): void => {
        tell("status", value);
        this.status = value;
      },
      reset: () => {
        tell("reset");
        this.status = 0;
      },
      setUpQueue: (index: number, queue: object) => tell("queue", index, JSON.stringify(queue)),
      enableQueue: (index: number) => tell("enable", index),
      stopQueue: (index: number) => tell("stop", index),
      takeInterrupt: (index: number) => this.interrupts.delete(index),
      kick: (index: number) => tell("kick", index),
      readConfig: (offset: number, length: number) => {
        tell("config", offset, length);
        return Uint8Array.from({ length }, (_, i) => 0x81 + offset + i);
      },
      writeConfig: (offset: number, bytes: Uint8Array) => tell("write", offset, bytes.toHex()),
      [Symbol.dispose]: () => tell("close"),
    };
    return lease as unknown as VhostUserLease;
  }
}
