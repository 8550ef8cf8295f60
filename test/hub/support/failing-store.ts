import { QtunnelError } from '../../../src/errors.ts';
import type { Store } from '../../../src/hub/store/store.ts';

/** The store, with a switch: what it is told to fail at, it refuses and does not do. */
export function failing(store: Store): { readonly store: Store; readonly broken: Set<keyof Store> } {
  const broken = new Set<keyof Store>();
  const proxy = new Proxy(store, {
    get: (target, name: keyof Store) => {
      if (broken.has(name)) return () => Promise.reject(new QtunnelError('DATABASE_FAILED', 'The database is broken.'));
      return (target[name] as (...words: unknown[]) => unknown).bind(target);
    },
  });
  return { store: proxy, broken };
}
