import type { LiveFeed } from '../live/live-feed.ts';
import type { MappingKeeper } from '../mapping-keeper.ts';
import type { Publisher } from '../publisher.ts';
import type { Store } from '../store/store.ts';
import type { TrafficLedger } from '../traffic-ledger.ts';
import type { Tokens } from './tokens.ts';

/** What the endpoints are made from. */
export interface ApiParts {
  readonly store: Store;
  readonly keeper: MappingKeeper;
  readonly ledger: TrafficLedger;
  readonly publisher: Publisher;
  readonly live: LiveFeed;
  readonly tokens: Tokens;
  /** Whether the hub takes agents. */
  readonly tunnelEnabled: boolean;
  readonly startedAt: Date;
}
