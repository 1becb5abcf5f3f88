/**
 * Holds config changes back until the bus and the driver are ready for them, and then delivers one change for
 * all that came in meanwhile (Linux `config_core_enabled`, `config_driver_disabled`, `config_change_pending`).
 */
export class ConfigGate {
  readonly #deliver: () => void;
  #coreEnabled = false;
  #driverDisabled = false;
  #pending = false;

  constructor(deliver: () => void) {
    this.#deliver = deliver;
  }

  /** Reports that the device's configuration changed. */
  changed(): void {
    this.#pending = true;
    this.#flush();
  }

  /** Keeps a change for later without delivering it now. */
  hold(): void {
    this.#pending = true;
  }

  /** The bus's gate: open from the end of probe until remove, freeze or recovery. */
  setCore(enabled: boolean): void {
    this.#coreEnabled = enabled;
    this.#flush();
  }

  /** The driver's gate, which does not nest. */
  setDriver(enabled: boolean): void {
    this.#driverDisabled = !enabled;
    this.#flush();
  }

  /** Restores the state of a device that was never probed. */
  clear(): void {
    this.#coreEnabled = false;
    this.#driverDisabled = false;
    this.#pending = false;
  }

  #flush(): void {
    if (!this.#pending || !this.#coreEnabled || this.#driverDisabled) return;
    this.#pending = false;
    this.#deliver();
  }
}
