import type { Bus } from "@vireo/drivers/bus";

/** The buses of this process's boards, from before their devices are probed until they are disposed. */
export const OPEN_BUSES: Set<Bus> = new Set();
