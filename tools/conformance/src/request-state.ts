import { RpcError } from '@mcp-blocks/core';
import { createRequestStateCodec } from '@modelcontextprotocol/server';

export type State = Readonly<Record<string, unknown>>;

const codec = createRequestStateCodec<State>({ key: crypto.getRandomValues(new Uint8Array(32)) });

/** Signs a multi-round-trip state with a key of this process. */
export const seal = (state: State): Promise<string> => codec.mint(state);

/** Verifies a state that came back. Throws `invalid_params` for one that was changed or has expired. */
export async function unseal(requestState: string | undefined): Promise<State | undefined> {
  if (requestState === undefined) return undefined;
  try {
    return await codec.verify(requestState, {} as never);
  } catch (cause) {
    throw new RpcError('invalid_params', 'Invalid or expired requestState', { data: { reason: 'invalid_request_state' }, cause });
  }
}
