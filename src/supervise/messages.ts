/**
 * What a supervisor and its children tell each other. The supervisor lives on when the package is replaced by another version, whose children it starts then: a message
 * may gain fields, which the other side may not know, and never changes its meaning.
 */
export type ToChild =
  /** A listening socket to go on with; comes with the socket, before `begin`. */
  | { readonly type: 'socket'; readonly key: string }
  | { readonly type: 'begin'; readonly words: readonly string[]; readonly restarts: number }
  | { readonly type: 'ping' }
  /** In the place of a signal, which a terminal or a service manager may send to both. */
  | { readonly type: 'signal'; readonly signal: NodeJS.Signals };

export type FromChild =
  /** Listens to messages. */
  | { readonly type: 'hello' }
  /** Answers each `ping`, when all its threads have answered. */
  | { readonly type: 'pong' }
  /** A listening socket that is to outlive the child; comes with the socket. */
  | { readonly type: 'keep'; readonly key: string }
  /** It is closed for good. */
  | { readonly type: 'release'; readonly key: string }
  /** Works, with the sockets that have these keys and no others. */
  | { readonly type: 'ready'; readonly keys: readonly string[] };

/** A socket as Node holds it; it is open for as long as this has not been closed. */
export interface SocketHandle {
  readonly fd: number;
  close(): void;
}
