/**
 * Messages to and from remote processors (device id 7, as Linux has them).
 *
 * @module
 */
export * from "./driver.ts";
export { type EndpointHost, RpmsgEndpoint, type RpmsgMessage } from "./endpoint.ts";
