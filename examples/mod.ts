/**
 * Nothing to import: the examples are scripts, each to be read and run on its own.
 *
 * @module
 */
export {};
