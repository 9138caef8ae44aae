import { Balancer } from './drain-balancer.ts';
import { type Caller, httpCaller, NothingRan, webSocketCaller } from './drain-callers.ts';
import { Fleet } from './drain-fleet.ts';
import type { Ending } from './drain-node.ts';
import type { Finding, Proof } from './proof.ts';

const NODES = 3;
const LOOPS_PER_CALLER = 3;
const ANSWERS_BETWEEN_RESTARTS = 60;
const MIN_CALL_MS = 2;
const CALL_SPREAD_MS = 28;

/** What a run of restarts under load came to. */
interface Load {
  readonly answered: number;
  /** Calls that ran on some node; more than were answered means that one ran twice or was lost. */
  readonly executed: number;
  readonly moved: number;
  readonly failures: readonly string[];
}

/** Restarts one node after the other, `restarts` times, while every kind of client keeps calling. */
async function restartUnderLoad(restarts: number, ending: Ending, progress: (done: number) => void): Promise<Load> {
  const fleet = await Fleet.start(NODES, ending);
  const balancer = new Balancer(fleet.ports);
  const callers: readonly Caller[] = [
    httpCaller('modern', balancer),
    httpCaller('legacy', balancer),
    webSocketCaller('modern'),
    webSocketCaller('legacy'),
  ];
  const failures: string[] = [];
  let answered = 0;
  let moved = 0;
  let calls = 0;
  let over = false;

  const keepCalling = async (caller: Caller) => {
    while (!over) {
      const token = `call-${++calls}`;
      try {
        for (let port = await balancer.next(); ; port = await balancer.next()) {
          try {
            const text = await caller.call(port, token, MIN_CALL_MS + (calls % CALL_SPREAD_MS));
            if (text !== token) throw new Error(`answered '${text}' instead of '${token}'`);
            answered += 1;
            break;
          } catch (error) {
            if (!(error instanceof NothingRan)) throw error;
            moved += 1;
          }
        }
      } catch (error) {
        failures.push(`${caller.name}: ${(error as Error).message}`);
      }
    }
  };

  const loops = callers.flatMap((caller) => Array.from({ length: LOOPS_PER_CALLER }, () => keepCalling(caller)));
  try {
    for (let done = 0; done < restarts; done += 1) {
      // Every caller has connections again before the next node goes.
      const enough = answered + ANSWERS_BETWEEN_RESTARTS;
      while (answered < enough && failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await fleet.restart(done % NODES);
      progress(done + 1);
    }
  } finally {
    over = true;
    await Promise.all(loops);
    balancer.close();
    for (const caller of callers) caller.close();
    await fleet.stop();
  }
  return { answered, executed: fleet.executed, moved, failures };
}

/** Endings that lose requests, which a proof worth its name notices. */
const BUGS: readonly Ending[] = ['cut', 'hasty'];

/**
 * Restarts server processes one after the other while clients of both eras call over HTTP and WebSocket
 * through a round-robin balancer that probes `/readyz`. A call moves to another node only when it certainly
 * did not run. Promised: no call fails, none runs twice.
 */
export const proof: Proof = {
  name: 'drain',
  n: 100,
  async run(n, progress): Promise<Finding> {
    const load = await restartUnderLoad(n, 'drain', progress);
    const unnoticed: Ending[] = [];
    for (const bug of BUGS) {
      const { failures } = await restartUnderLoad(1, bug, () => {});
      if (failures.length === 0) unnoticed.push(bug);
    }
    const twice = load.executed - load.answered;
    const held = load.failures.length === 0 && twice === 0 && load.answered > n && unnoticed.length === 0;
    return {
      held,
      figure:
        `${n} rolling restarts, ${load.answered.toLocaleString('en')} requests, ${load.failures.length} failed, ` +
        `${twice} run more than once, ${load.moved} moved before they ran; ` +
        `${BUGS.length - unnoticed.length} of ${BUGS.length} planted bugs found`,
      details: [...load.failures.slice(0, 20), ...unnoticed.map((bug) => `planted bug not found: ${bug}`)],
    };
  },
};
