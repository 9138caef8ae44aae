import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect, useState } from 'react';
import type { MCPClientConfig } from '../config.js';
import { MCPClientPattern } from '../mcp-client-pattern.js';
import { Lease } from './lease.js';

const ClientContext = createContext<MCPClientPattern | undefined>(undefined);

/** Props of {@link MCPClientProvider}: what to make a client of, or a client. */
export type MCPClientProviderProps = { readonly children?: ReactNode } & (
  | {
      /**
       * Makes a client that lives as long as the provider is mounted. Read once: to change it, give the provider
       * another `key`.
       */
      readonly config: MCPClientConfig;
      readonly client?: undefined;
    }
  | {
      /** A client of yours, which you close. */
      readonly client: MCPClientPattern;
      readonly config?: undefined;
    }
);

/**
 * Gives a client to the components inside. One made from `config` connects with its first request, and is closed
 * when the provider is unmounted; StrictMode's second mount goes on with the same one.
 *
 * @throws ConfigurationError, while rendering, for a `config` that is wrong.
 */
export function MCPClientProvider({ config, client, children }: MCPClientProviderProps): ReactElement {
  return config === undefined
    ? createElement(ClientContext.Provider, { value: client }, children)
    : createElement(OwnClientProvider, { config }, children);
}

/**
 * The client of the nearest {@link MCPClientProvider}.
 *
 * @throws Error when there is none.
 */
export function useMCPClient(): MCPClientPattern {
  const client = useContext(ClientContext);
  if (client === undefined) throw new Error('useMCPClient: there is no MCPClientProvider around this component');
  return client;
}

function OwnClientProvider({ config, children }: { readonly config: MCPClientConfig; readonly children?: ReactNode }): ReactElement {
  const [own, setOwn] = useState(() => new OwnClient(config));
  useEffect(() => {
    if (!own.isClosed) return own.hold();
    // The tree had been hidden, which ends effects and keeps state.
    setOwn(own.again());
    return undefined;
  }, [own]);
  return createElement(ClientContext.Provider, { value: own.client }, children);
}

/** A client that is closed when nobody holds it any longer. One that was never held has nothing to close. */
class OwnClient {
  readonly client: MCPClientPattern;
  readonly #config: MCPClientConfig;
  readonly #lease = new Lease(() => () => {
    this.#isClosed = true;
    void this.client.close();
  });
  #isClosed = false;

  constructor(config: MCPClientConfig) {
    this.#config = config;
    this.client = new MCPClientPattern(config);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  hold(): () => void {
    return this.#lease.hold();
  }

  again(): OwnClient {
    return new OwnClient(this.#config);
  }
}
