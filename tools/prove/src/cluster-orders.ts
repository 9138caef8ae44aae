import type { Authenticator } from '@mcp-blocks/core';

/** The service's name in etcd. */
export const SERVICE = 'ledger';
/** Who the gateways are when they check a node's health. */
export const CHECKER = 'checker';
/** What the gateways have promised: of five nodes two may be ejected at a time, … */
export const MAX_EJECTED_SHARE = 0.4;
/** … and with fewer than three sound ones there is panic. */
export const PANIC_THRESHOLD = 0.6;

/** Bugs planted in a node: it answers before it has done what it was asked for; it takes no notice of keys. */
export type NodeBug = 'answers-first' | 'no-keys';

/** How long things may take before they count as failed, in milliseconds. */
export interface Pace {
  /** A node's entry in the registry, and its hold on calls with a key, after its last sign of life. */
  readonly leaseMs: number;
  readonly perTryMs: number;
  readonly healthTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

export const PACES = {
  /** For a machine that has nothing else to do. */
  tight: { leaseMs: 1_000, perTryMs: 300, healthTimeoutMs: 500, requestTimeoutMs: 3_000 },
  /** For one that may be busy. */
  patient: { leaseMs: 5_000, perTryMs: 2_000, healthTimeoutMs: 5_000, requestTimeoutMs: 15_000 },
} as const satisfies Record<string, Pace>;

/** What a node is told when it is started. */
export interface NodeOrder {
  readonly id: string;
  readonly port: number;
  /** Where the others reach it: at the fault proxy. */
  readonly url: string;
  readonly etcdUrl: string;
  readonly redisUrl: string;
  /** The file that all nodes write what they do to. */
  readonly ledger: string;
  readonly pace: Pace;
}

/** What can be wrong with a node that lives. */
export interface Trouble {
  /** Every call takes so much longer, in milliseconds. */
  readonly slowMs?: number;
  /** What becomes of calls: they are answered with "unavailable", their connection is lost once they have arrived, or nothing. */
  readonly failing?: 'unavailable' | 'lost' | 'silent';
  /** Health checks fail; calls do not. */
  readonly sick?: boolean;
}

export type ToNode = { readonly enter: true } | { readonly trouble: Trouble } | { readonly bug: NodeBug | null } | { readonly count: true };

export type FromNode = { readonly listening: true } | { readonly entered: true } | { readonly calls: number };

/** Bugs planted in a gateway. */
export type GatewayBug = 'repeats-everything' | 'denies-everything' | 'no-cap' | 'no-panic' | 'no-budget' | 'no-failover';

/** What a gateway is told when it is started. */
export interface GatewayOrder {
  readonly etcdUrl: string;
  readonly redisUrl: string;
  /** Without circuit breakers and ejections only the retry budget stands between an outage and the nodes. */
  readonly breakers: boolean;
  readonly bug?: GatewayBug | undefined;
  readonly pace: Pace;
}

/** What a gateway knows of a node. */
export interface NodeView {
  readonly id: string;
  readonly health: string;
  readonly ejected: boolean;
  readonly circuit: string;
  readonly available: boolean;
}

/** What a gateway knows. */
export interface GatewayView {
  readonly nodes: readonly NodeView[];
  readonly panic: boolean;
}

export type FromGateway =
  | { readonly url: string }
  /** Whenever something has changed. */
  | { readonly view: GatewayView }
  /** What it must never do. */
  | { readonly violation: string };

/** Takes the bearer's word for who it is: nothing here is about authentication. */
export const byName: Authenticator = {
  name: 'by-name',
  authenticate: async (request) => {
    const id = /^Bearer (\S+)$/.exec(request.header('authorization') ?? '')?.[1];
    return id === undefined ? undefined : { id, authentication: 'by-name', roles: [], scopes: [] };
  },
};
