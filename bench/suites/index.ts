import type { Suite } from '../suite.ts';
import { growth } from './growth.ts';
import { hub, hubIdle, hubReturn } from './hub.ts';
import { cable, loopback } from './machine.ts';
import { memory } from './memory.ts';
import { share } from './share.ts';
import { start } from './start.ts';
import { wan } from './wan.ts';

/** In the order in which they run and are reported. */
export const SUITES: readonly Suite[] = [
  loopback(),
  cable(),
  wan(),
  start(),
  share(),
  memory(),
  growth(),
  hub(),
  hubIdle(),
  hubReturn(),
];
