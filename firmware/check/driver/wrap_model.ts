import type { DeviceContext, DeviceModel, DeviceQueue } from "@vireo/emu";

/**
 * Puts something between a model and its queues.
 *
 * @param make Makes what the model has instead of a queue; once for each time that the queue is started.
 * @returns The same model.
 */
export function wrapQueues(
  model: DeviceModel,
  make: (queue: DeviceQueue, context: DeviceContext) => DeviceQueue,
): DeviceModel {
  const activate = model.activate.bind(model);
  const queues = new WeakMap<DeviceQueue, DeviceQueue>();
  model.activate = (given) => activate(wrapContext(given, queues, make));
  return model;
}

function wrapContext(
  given: DeviceContext,
  queues: WeakMap<DeviceQueue, DeviceQueue>,
  make: (queue: DeviceQueue, context: DeviceContext) => DeviceQueue,
): DeviceContext {
  return {
    get features() {
      return given.features;
    },
    get legacy() {
      return given.legacy;
    },
    queue(index) {
      const queue = given.queue(index);
      if (queue === undefined) return undefined;
      let wrapped = queues.get(queue);
      if (wrapped === undefined) queues.set(queue, wrapped = make(queue, given));
      return wrapped;
    },
    get work() {
      return given.work;
    },
    memory: (address, length) => given.memory(address, length),
    sharedAddress: (id) => given.sharedAddress(id),
    configChanged: () => given.configChanged(),
    fault: (reason, rule) => given.fault(reason, rule),
    hostFailed: (error) => given.hostFailed(error),
  };
}
