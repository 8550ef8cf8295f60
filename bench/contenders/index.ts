import type { Contender } from '../contender.ts';
import { direct } from './direct.ts';
import { qtunnel } from './qtunnel.ts';
import { stunnel } from './stunnel.ts';

/** In the order of the table. */
export const CONTENDERS: readonly Contender[] = [
  direct,
  qtunnel('qtunnel QUIC', ['-quic']),
  qtunnel('qtunnel TCP mode', []),
  stunnel,
];
