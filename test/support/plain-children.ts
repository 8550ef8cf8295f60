import { createRequire } from 'node:module';

/**
 * Preloaded into each test (.taprc): what a test starts is started as a user would. tap makes every child process load a module of its own first, which
 * installs signal handlers, slows the start down, and makes Node refuse some programs (`tsc` by its shim: ERR_REQUIRE_CYCLE_MODULE).
 */
const onSpawn = createRequire(import.meta.url)('process-on-spawn') as {
  addListener(listener: (spawned: { env: Record<string, string | undefined> }) => unknown): void;
};
queueMicrotask(() =>
  onSpawn.addListener((spawned) => {
    const { NODE_OPTIONS: _ofTap, ...env } = spawned.env;
    spawned.env = env;
    return spawned;
  }),
);
