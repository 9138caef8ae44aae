import { consul } from './consul.ts';
import type { ServiceDefinition, ServiceName } from './definition.ts';
import { etcd } from './etcd.ts';
import { postgres } from './postgres.ts';
import { redis } from './redis.ts';

export type { ServiceDefinition, ServiceName } from './definition.ts';

export const DEFINITIONS: Readonly<Record<ServiceName, ServiceDefinition>> = { redis, etcd, postgres, consul };
export const SERVICE_NAMES: readonly ServiceName[] = ['redis', 'etcd', 'postgres', 'consul'];
