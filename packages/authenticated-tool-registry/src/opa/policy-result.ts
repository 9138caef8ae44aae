import { isJsonObject } from '@mcp-blocks/core';
import type { DecisionAnswer } from '../decision-point.js';

/**
 * What a Rego rule's value means: a boolean, or an object with `allow` and perhaps `reason`. A rule
 * without value (undefined) denies.
 *
 * @throws Error for any other value.
 */
export function answerOf(result: unknown): DecisionAnswer {
  if (result === undefined) return { allow: false, reason: 'the policy has no value' };
  const { allow, reason } = isJsonObject(result) ? result : { allow: result, reason: undefined };
  if (allow === true) return { allow };
  if (allow !== false) throw new Error('the policy answered neither a boolean nor an object with a boolean allow');
  return { allow, ...(typeof reason === 'string' ? { reason } : {}) };
}
