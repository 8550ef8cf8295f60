import { api } from './api.ts';
import { bulk } from './bulk.ts';
import { churn } from './churn.ts';
import { crashes } from './crashes.ts';
import { failingCalls } from './failing-calls.ts';
import type { Experiment } from './experiment.ts';
import { fuzz } from './fuzz.ts';
import { hub } from './hub.ts';
import { laneRaces } from './lane-races.ts';
import { lostOnce } from './lost-once.ts';
import { nettest } from './nettest.ts';
import { strangers } from './strangers.ts';
import { toxics } from './toxics.ts';
import { wan } from './wan.ts';

/** All of them, in the order in which they are run. */
export const EXPERIMENTS: readonly Experiment[] = [
  nettest(),
  bulk(),
  churn(),
  toxics(),
  crashes(),
  failingCalls(),
  wan(),
  lostOnce(),
  laneRaces(),
  strangers(),
  fuzz(),
  api(),
  hub(),
];
