import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TransportRelay } from '@mcp-blocks/core/testing';
import type { FromGateway, FromNode, GatewayOrder, GatewayView, NodeBug, NodeOrder, NodeView, ToNode, Trouble } from './cluster-orders.ts';

const NODE = new URL('cluster-node.ts', import.meta.url);
const GATEWAY = new URL('cluster-gateway.ts', import.meta.url);
const PATIENCE_MS = 120_000;
const POLL_MS = 5;

/** Waits for a state that must come; a generous limit keeps a proof that is broken from running for ever. */
export async function until(what: string, holds: () => boolean, patienceMs = PATIENCE_MS): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`It never came about that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function start(program: URL, order: object): ChildProcess {
  // Whatever conditions this process resolves imports with: the others run what is built.
  return fork(fileURLToPath(program), [JSON.stringify(order)], { execArgv: [] });
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** A node: a process, and the fault proxy that everybody else reaches it through. */
export class ClusterNodeProcess {
  readonly #order: NodeOrder;
  readonly #port: number;
  #child: ChildProcess | undefined;
  #relay: TransportRelay | undefined;
  #entered = false;
  #counted: ((calls: number) => void) | undefined;

  /** @param port - of the fault proxy. */
  constructor(order: Omit<NodeOrder, 'url'>, port: number) {
    this.#order = { ...order, url: `http://127.0.0.1:${port}/mcp` };
    this.#port = port;
  }

  get id(): string {
    return this.#order.id;
  }

  /** Resolves when it is in the registry. */
  async start(): Promise<void> {
    const child = start(NODE, this.#order);
    this.#child = child;
    this.#entered = false;
    let failure: string | undefined;
    child.on('message', (report: FromNode) => void this.#onReport(report));
    child.once('exit', (code, signal) => (failure = `${this.id} ended with ${code ?? signal}`));
    await until(`${this.id} is in the registry`, () => {
      if (failure !== undefined) throw new Error(failure);
      return this.#entered;
    });
  }

  /** `kill -9`: its port refuses from then on, and so does its proxy. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await Promise.all([this.close(), end(this.#child)]);
  }

  stop(): void {
    this.#child?.kill('SIGSTOP');
  }

  continue(): void {
    this.#child?.kill('SIGCONT');
  }

  trouble(trouble: Trouble): void {
    this.#tell({ trouble });
  }

  /** Plants a bug; `null` mends it. */
  plant(bug: NodeBug | null): void {
    this.#tell({ bug });
  }

  /** How many calls it has got. */
  count(): Promise<number> {
    return new Promise((resolve) => {
      this.#counted = resolve;
      this.#tell({ count: true });
    });
  }

  /** The network is gone: nothing goes through, and nobody is told. */
  partition(): void {
    this.#relay?.freeze();
  }

  /** It hears, and nobody hears it. */
  mute(): void {
    this.#relay?.stall();
  }

  /** What it has said in the meantime arrives. */
  unmute(): void {
    this.#relay?.resume();
  }

  /** Every connection is reset; new ones go through. */
  cut(): void {
    this.#relay?.cut();
  }

  /** The proxy refuses connections. */
  async close(): Promise<void> {
    const relay = this.#relay;
    this.#relay = undefined;
    await relay?.close();
  }

  async open(): Promise<void> {
    this.#relay ??= await TransportRelay.open({ port: this.#order.port }, { port: this.#port });
  }

  async #onReport(report: FromNode): Promise<void> {
    if ('listening' in report) {
      await this.open();
      this.#tell({ enter: true });
    } else if ('entered' in report) this.#entered = true;
    else this.#counted?.(report.calls);
  }

  #tell(message: ToNode): void {
    if (this.#child?.connected) this.#child.send(message);
  }
}

/** A gateway: a process that tells what it knows. */
export class GatewayProcess {
  readonly #child: ChildProcess;
  readonly violations: string[] = [];
  #url: string | undefined;
  #ending: string | undefined;
  #view: GatewayView = { nodes: [], panic: false };
  #onView: (view: GatewayView) => void = () => {};

  constructor(order: GatewayOrder) {
    this.#child = start(GATEWAY, order);
    this.#child.on('message', (report: FromGateway) => {
      if ('url' in report) this.#url = report.url;
      else if ('violation' in report) this.violations.push(report.violation);
      else this.#onView((this.#view = report.view));
    });
    this.#child.once('exit', (code, signal) => (this.#ending = `A gateway ended with ${code ?? signal}`));
  }

  /** Resolves when it serves. */
  started(): Promise<void> {
    return until('a gateway serves', () => {
      this.#assertAlive();
      return this.#url !== undefined;
    });
  }

  get url(): string {
    return this.#url as string;
  }

  get view(): GatewayView {
    return this.#view;
  }

  /** Told of every view from now on. */
  onView(listener: (view: GatewayView) => void): void {
    this.#onView = listener;
  }

  /** @throws Error when the gateway has ended, which no fault makes it do. */
  node(id: string): NodeView | undefined {
    this.#assertAlive();
    return this.#view.nodes.find((node) => node.id === id);
  }

  end(): Promise<void> {
    return end(this.#child);
  }

  #assertAlive(): void {
    if (this.#ending !== undefined) throw new Error(this.#ending);
  }
}
