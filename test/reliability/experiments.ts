import { churn } from './churn.ts';
import type { Experiment } from './experiment.ts';
import { fuzz } from './fuzz.ts';
import { lostOnce } from './lost-once.ts';
import { strangers } from './strangers.ts';
import { wan } from './wan.ts';

/** All of them, in the order in which they are run. */
export const EXPERIMENTS: readonly Experiment[] = [churn(), wan(), lostOnce(), strangers(), fuzz()];
