import { churn } from './churn.ts';
import type { Experiment } from './experiment.ts';

/** All of them, in the order in which they are run. */
export const EXPERIMENTS: readonly Experiment[] = [churn()];
