import { ConfigurationError, type ServiceNode } from '@mcp-blocks/core';
import { parseOptions } from '../option-schemas.js';
import { serviceNodeSchema } from './service-node-schema.js';

/** One node's entry in a registry. */
export interface Registration {
  enter(): Promise<void>;
  leave(): Promise<void>;
}

/** The entries that a driver has made and not taken out again. */
export class Registrations {
  readonly #leaves = new Set<() => Promise<void>>();

  /**
   * Enters the node; the result takes it out, and may be called twice.
   *
   * @throws ConfigurationError for what is no node; what `enter` rejects with.
   */
  async enter(node: ServiceNode, entryOf: (node: ServiceNode) => Registration): Promise<() => Promise<void>> {
    const entry = entryOf(checkNode(node));
    await entry.enter();
    const leave = async () => {
      if (this.#leaves.delete(leave)) await entry.leave();
    };
    this.#leaves.add(leave);
    return leave;
  }

  /** Takes every node out. */
  async close(): Promise<void> {
    await Promise.all([...this.#leaves].map((leave) => leave()));
  }
}

function checkNode(node: ServiceNode): ServiceNode {
  try {
    return parseOptions(serviceNodeSchema, node);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new ConfigurationError(`node.${error.option}`, error.message.slice(`${error.option}: `.length));
  }
}
