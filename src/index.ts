export type { Address } from './config/settings.ts';
export { ERROR_CODES, type ErrorCode, QtunnelError } from './errors.ts';
export { startClient, type TunnelClient } from './library/client.ts';
export { connect } from './library/connect.ts';
export type {
  ClientEvents,
  ConnectionEndInfo,
  ConnectionInfo,
  FailedAttempt,
  LifecycleEvents,
  LinkInfo,
  ServerEvents,
} from './library/events.ts';
export type { ClientOptions, ConnectionOptions, ConnectOptions, ServerOptions, WaitOptions } from './library/options.ts';
export { startServer, type TunnelServer } from './library/server.ts';
export type { LinkState } from './link/link.ts';
export type { ResetReason } from './protocol/reset.ts';
