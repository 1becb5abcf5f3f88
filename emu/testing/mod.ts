/**
 * Stand-ins for drivers and for device models, for tests of either and of machines.
 *
 * @module
 */
export * from "./echo_model.ts";
export * from "./mock_driver.ts";
