import type { z } from 'zod';
import type * as schemas from '../api/schemas.ts';

/* What comes over the API, as its schemas have it. */

export type Mapping = z.output<typeof schemas.mapping>;
export type Agent = z.output<typeof schemas.agent>;
export type Moment = z.output<typeof schemas.moment>;
export type MovingMapping = Moment['mappings'][number];
export type History = z.output<typeof schemas.history>;
export type MappingHistory = z.output<typeof schemas.mappingHistory>;
export type ClientTraffic = z.output<typeof schemas.clientTraffic>;
export type Stats = z.output<typeof schemas.stats>;
export type Token = z.output<typeof schemas.token>;
export type NewToken = z.output<typeof schemas.newToken>;
export type AuditEntry = z.output<typeof schemas.auditEntry>;
export type Problem = z.output<typeof schemas.problem>;
