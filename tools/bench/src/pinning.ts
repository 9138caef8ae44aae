import { spawnSync } from 'node:child_process';

/** How processes are kept on a core of their own: the command to put before theirs, and words for the report. */
export interface Pinning {
  readonly server: readonly string[];
  readonly generator: readonly string[];
  readonly description: string;
}

/** Pins servers to core 0 and the generator to core 1 with `taskset`, where that can be done. */
export function findPinning(succeeds: (command: string, args: readonly string[]) => boolean = runs): Pinning {
  const on = (core: number) => ['taskset', '-c', String(core)];
  if (!succeeds('taskset', ['-c', '0', 'true'])) {
    return { server: [], generator: [], description: '**not pinned to a core** (no usable `taskset`): a server may use more than one' };
  }
  if (!succeeds('taskset', ['-c', '1', 'true'])) {
    const description =
      'server pinned to core 0 with `taskset`; **the load generator has no core of its own** and takes time from the server';
    return { server: on(0), generator: [], description };
  }
  return { server: on(0), generator: on(1), description: 'server pinned to core 0, load generator to core 1, with `taskset`' };
}

function runs(command: string, args: readonly string[]): boolean {
  return spawnSync(command, [...args], { stdio: 'ignore' }).status === 0;
}
