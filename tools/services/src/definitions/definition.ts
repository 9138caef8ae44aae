import type { Installable } from '../launcher.ts';

export type ServiceName = 'redis' | 'etcd' | 'postgres' | 'consul';

/** What it takes to run one kind of server. */
export interface ServiceDefinition extends Installable {
  readonly name: ServiceName;
  /** The environment variable that carries its URL to the tests. */
  readonly variable: string;
  readonly dockerImage: string;
  /** How to install it by hand, for the message when nothing else worked. */
  readonly manualInstall: string;
  url(port: number): string;
  /** How many free ports it needs beside the one its clients use. Default: 0. */
  readonly sidePortCount?: number;
  /** The command line after the executable. */
  args(place: Place): string[];
  /** The same inside a container, where the server listens on its usual port. */
  readonly docker: { readonly port: number; readonly dataDir: string; readonly env?: readonly string[] };
  /** A program beside the executable that has to run first, and its arguments. A container does that itself. */
  readonly prepare?: { readonly program: string; args(dataDir: string): string[] };
  /** The user to run as where we are root, because the server refuses to be root. */
  readonly unprivilegedUser?: string;
  /** What ends it without waiting for its clients. Default: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Resolves with true once the server answers. */
  answers(port: number): Promise<boolean>;
}

/** Where a server runs. `port` is what its clients use. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly sidePorts: readonly number[];
  readonly dataDir: string;
}
