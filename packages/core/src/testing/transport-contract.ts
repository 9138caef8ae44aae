import { transportCallCases } from './transport-call-cases.js';
import { transportFailureCases } from './transport-failure-cases.js';
import { transportTimeCases } from './transport-time-cases.js';
import type { TransportCase } from './transport-trial.js';

/**
 * What every transport promises its users, in both eras and with any client: the same behaviour. A case
 * that needs what the transport does not do is to be skipped with the reason the harness gives:
 *
 * ```ts
 * for (const { name, run, skipReason } of transportContract) {
 *   it.skipIf(skipReason(harness) !== undefined)(name, () => run(harness));
 * }
 * ```
 */
export const transportContract: readonly TransportCase[] = [...transportCallCases, ...transportTimeCases, ...transportFailureCases];
