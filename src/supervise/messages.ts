/**
 * What a supervisor and its children tell each other. The supervisor lives on when the package is replaced by another version, whose children it starts then: a message
 * may gain fields, which the other side may not know, and never changes its meaning.
 */
export type ToChild =
  /** A listening socket to go on with; comes with the socket, before `begin`. */
  | { readonly type: 'socket'; readonly key: string }
  | {
      readonly type: 'begin';
      readonly words: readonly string[];
      readonly restarts: number;
      /** Two processes that share ports have different ones. */
      readonly generation: Generation;
      /** Whether another process has the ports as well. */
      readonly shares: boolean;
    }
  | { readonly type: 'ping' }
  /** In the place of a signal, which a terminal or a service manager may send to both. */
  | { readonly type: 'signal'; readonly signal: NodeJS.Signals }

  /** Another process takes what is new from now on. */
  | { readonly type: 'retire' }
  /** The other process is gone. */
  | { readonly type: 'alone' }
  /** Another process is about to share the ports: it needs to know the links that are made over TLS. */
  | { readonly type: 'tellLinks' }
  | LinkMessage;

export type FromChild =
  /** Listens to messages. */
  | { readonly type: 'hello' }
  /** Answers each `ping`, when all its threads have answered. */
  | { readonly type: 'pong' }
  /** A listening socket that is to outlive the child; comes with the socket. */
  | { readonly type: 'keep'; readonly key: string }
  /** It is closed for good. */
  | { readonly type: 'release'; readonly key: string }
  /** Works, with the sockets that have these keys and no others. `obstacle` says why it cannot share its ports with another process; null when it can. */
  | { readonly type: 'ready'; readonly keys: readonly string[]; readonly obstacle: string | null }
  | LinkMessage;

/** A link over TLS, whose connections may come to either of two processes; passed on from one to the other. */
export type LinkMessage =
  /** `token` in hexadecimal digits: what shows that a connection belongs to the link. */
  | { readonly type: 'link'; readonly id: string; readonly token: string }
  | { readonly type: 'linkGone'; readonly id: string; readonly cut: boolean };

export type Generation = 0 | 1;

/** A socket as Node holds it; it is open for as long as this has not been closed. */
export interface SocketHandle {
  readonly fd: number;
  close(): void;
}
