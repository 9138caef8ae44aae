export { MemoryStateStore, type MemoryStateStoreOptions, type StateStore } from '@mcp-blocks/core';
export { createStateStore, type StateStoreConfig } from './create-state-store.js';
export { Idempotency, type IdempotencyMetrics } from './idempotency.js';
export type { IdempotencyOptions } from './idempotency-options.js';
