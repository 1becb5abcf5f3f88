/** How many MUSTs and MUST NOTs in scope no test cites, at most: lower it with each that gets one. */
export const MISSING_MUSTS = 0;
