/** Environment variable that is set in a guest. */
export const GUEST_VARIABLE = "VIREO_GUEST";

/** Environment variable with the command that the host has parsed, as JSON. */
export const CALL_VARIABLE = "VIREO_GUEST_CALL";

/** Whether this process is the program of a guest, started by the command line on the host. */
export function inGuest(): boolean {
  return Deno.env.get(GUEST_VARIABLE) !== undefined;
}
