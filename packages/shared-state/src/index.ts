export { MemoryStateStore, type MemoryStateStoreOptions, type StateStore } from '@mcp-blocks/core';
export { createStateStore, type StateStoreConfig } from './create-state-store.js';
