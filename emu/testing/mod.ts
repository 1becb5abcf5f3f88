/**
 * Stand-ins for drivers, for tests of device models.
 *
 * @module
 */
export * from "./mock_driver.ts";
