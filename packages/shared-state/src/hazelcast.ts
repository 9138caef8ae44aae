export { HazelcastStateStore, type HazelcastStateStoreOptions } from './hazelcast-state-store.js';
