import { RpcError, type StateStore } from '@mcp-blocks/core';

/** A store whose connection can be cut, and whose answers can be lost. */
export function gated(store: StateStore, onSet: (key: string) => void = () => {}) {
  let isCut = false;
  let lost: keyof StateStore | undefined;
  const gone = () => new RpcError('unavailable', 'The state store cannot be reached');
  const through = async <T>(name: keyof StateStore, run: () => Promise<T>): Promise<T> => {
    if (isCut) throw gone();
    const answer = await run();
    if (lost !== name) return answer;
    lost = undefined;
    throw gone();
  };
  const gatedStore: StateStore = {
    get: (key) => through('get', () => store.get(key)),
    set: (key, value, options) => {
      onSet(key);
      return through('set', () => store.set(key, value, options));
    },
    compareAndSet: (...args) => through('compareAndSet', () => store.compareAndSet(...args)),
    delete: (key) => through('delete', () => store.delete(key)),
    increment: (...args) => through('increment', () => store.increment(...args)),
    acquireLock: (...args) => through('acquireLock', () => store.acquireLock(...args)),
    extendLock: (...args) => through('extendLock', () => store.extendLock(...args)),
    releaseLock: (...args) => through('releaseLock', () => store.releaseLock(...args)),
    publish: (...args) => through('publish', () => store.publish(...args)),
    subscribe: (...args) => through('subscribe', () => store.subscribe(...args)),
    close: () => store.close(),
  };
  return Object.assign(gatedStore, {
    cut: () => {
      isCut = true;
    },
    mend: () => {
      isCut = false;
    },
    /** The next call of this method has its effect and fails. */
    loseNextAnswer: (name: keyof StateStore) => {
      lost = name;
    },
  });
}
