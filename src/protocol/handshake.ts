import { QtunnelError } from '../errors.ts';
import { equalBytes } from './bytes.ts';
import { FRAME, FRAME_HEADER } from './frames.ts';
import {
  decodeHello,
  decodeReject,
  decodeWelcome,
  encodeHello,
  encodeReject,
  encodeWelcome,
  type Hello,
  type LinkSettings,
  type RejectReason,
  type Welcome,
} from './messages.ts';

/** HMAC-SHA256 of the parts one after another: 32 bytes. Given from outside, because the core has no cryptography of its own. */
export type Hmac = (key: Uint8Array, ...parts: Uint8Array[]) => Uint8Array;

export interface HandshakeContext {
  readonly hmac: Hmac;
  /** The stretched secret; null without one. */
  readonly key: Uint8Array | null;
  /** A client's name; empty or left out without one. */
  readonly client?: string | undefined;
  /** A server: which keys clients may prove themselves with; `key` alone when left out. */
  readonly keysOf?: KeysOf | undefined;
  /** A server: who the client is by the certificate that it showed on this connection; certificates mean nothing when left out. */
  readonly recognise?: ((claimed: string) => Recognition) | undefined;
  /** SHA-256 of the server's certificate, 32 bytes, as this side saw or sent it in this connection. */
  readonly certificate: Uint8Array;
  /** 16 bytes of fresh randomness. */
  readonly nonce: Uint8Array;
  readonly software: string;
  readonly settings: LinkSettings;
}

/**
 * The keys of the client with this name, or of those without one; null for one that needs no secret. Always as many, so that the time tells nothing; those that
 * nobody has are random.
 */
export type KeysOf = (client: string) => readonly (Uint8Array | null)[];

/** What a client's certificate says of a client that claims a name, or none (empty). */
export interface Recognition {
  /** The name that the client goes by; empty for none. */
  readonly client: string;
  /** Why it is not to be let in, for it and for the log; null when nothing speaks against it. */
  readonly problem: string | null;
}

/** The client's side: `hello` is sent first, then `handleAnswer` judges what comes back. */
export class ClientHandshake {
  readonly hello: Uint8Array<ArrayBuffer>;
  readonly #context: HandshakeContext;

  constructor(context: HandshakeContext, linkId: string) {
    this.#context = context;
    const { nonce, software, settings, client = '' } = context;
    const unproven = { version: PROTOCOL_VERSION, linkId, nonce, proof: NO_PROOF, software, settings, client };
    const proof = prove(context, CLIENT_LABEL, encodeHello(unproven).subarray(FRAME_HEADER));
    this.hello = encodeHello({ ...unproven, proof });
  }

  /**
   * @throws QtunnelError `AUTH_REJECTED`, `VERSION_MISMATCH` or `SERVER_BUSY` when the server says no, `AUTH_SERVER` when its own proof is
   *   missing or wrong, `PROTOCOL_VIOLATION` when it is not an answer.
   */
  handleAnswer(type: number, payload: Uint8Array): Welcome {
    if (type === FRAME.REJECT) throw rejection(payload);
    if (type !== FRAME.WELCOME)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The server answered HELLO with a frame of type ${type}.`);
    if (isOtherVersion(payload)) throw versionMismatch('server', payload[0]!);
    const welcome = decodeWelcome(payload);
    const transcript = [this.hello.subarray(FRAME_HEADER), withoutProof(payload, WELCOME_PROOF_AT)];
    if (!equalBytes(welcome.proof, prove(this.#context, SERVER_LABEL, ...transcript))) {
      throw new QtunnelError('AUTH_SERVER', serverProofProblem(this.#context.key !== null, welcome.proof.length > 0));
    }
    return welcome;
  }
}

export type HelloVerdict =
  | { readonly accepted: true; readonly hello: Hello; readonly answer: Uint8Array<ArrayBuffer> }
  | {
      readonly accepted: false;
      readonly error: QtunnelError;
      readonly answer: Uint8Array<ArrayBuffer>;
      /** Whether the client has shown the secret. */
      readonly isProven: boolean;
    };

/** The server's side: judges the client's first frame and gives the frame to answer it with. `resetToken` is 16 bytes. */
export function judgeHello(context: HandshakeContext, resetToken: Uint8Array, type: number, payload: Uint8Array): HelloVerdict {
  if (type !== FRAME.HELLO)
    return refuse('PROTOCOL', 'PROTOCOL_VIOLATION', `The client began with a frame of type ${type} where HELLO belongs.`);
  if (isOtherVersion(payload)) {
    return refuse('VERSION', 'VERSION_MISMATCH', versionMismatch('client', payload[0]!).message);
  }
  let hello: Hello;
  try {
    hello = decodeHello(payload);
  } catch (error) {
    return refuse('PROTOCOL', 'PROTOCOL_VIOLATION', 'The client sent a HELLO that does not parse.', error);
  }
  const { client, problem } = context.recognise?.(hello.client) ?? { client: hello.client, problem: null };
  const keys = context.keysOf?.(client) ?? [context.key];
  const transcript = withoutProof(payload, HELLO_PROOF_AT);
  // All of them are tried, whichever it is.
  const matching = keys.filter((key) => equalBytes(hello.proof, prove({ ...context, key }, CLIENT_LABEL, transcript)));
  const [key] = matching;
  if (key === undefined)
    return refuse('AUTH', 'AUTH_REJECTED', clientProofProblem(context, keys[0] !== null, hello.proof.length > 0));
  // Whoever has not shown the secret hears nothing of certificates.
  if (problem !== null) return { ...refuse('CERTIFICATE', 'AUTH_REJECTED', problem), isProven: true };
  return { accepted: true, hello: { ...hello, client }, answer: provenWelcome({ ...context, key }, resetToken, payload) };
}

/**
 * What reports are authenticated with (docs/PROTOCOL.md, "Reports"), 32 bytes each. The nonces are fresh, and nobody but the two sides has seen them: both travel
 * inside the encrypted connection.
 */
export function reportKeys(
  hmac: Hmac,
  clientNonce: Uint8Array,
  serverNonce: Uint8Array,
): { toClient: Uint8Array; toServer: Uint8Array } {
  return {
    toClient: hmac(serverNonce, TO_CLIENT_LABEL, clientNonce),
    toServer: hmac(clientNonce, TO_SERVER_LABEL, serverNonce),
  };
}

/**
 * What shards are authenticated with (docs/PROTOCOL.md, "Blocks"), 32 bytes each. Made of the client's nonce alone, which the two sides know before WELCOME: that may travel in a block.
 */
export function shardKeys(hmac: Hmac, clientNonce: Uint8Array): { toClient: Uint8Array; toServer: Uint8Array } {
  return { toClient: hmac(clientNonce, SHARDS_TO_CLIENT_LABEL), toServer: hmac(clientNonce, SHARDS_TO_SERVER_LABEL) };
}

/** A REJECT frame for a client that cannot be served now, and the error for the log. */
export function refuse(
  reason: RejectReason,
  code: 'AUTH_REJECTED' | 'VERSION_MISMATCH' | 'SERVER_BUSY' | 'PROTOCOL_VIOLATION',
  message: string,
  cause?: unknown,
): HelloVerdict & { accepted: false } {
  return {
    accepted: false,
    error: new QtunnelError(code, message, { cause }),
    answer: encodeReject(reason, message),
    isProven: false,
  };
}

function provenWelcome(context: HandshakeContext, resetToken: Uint8Array, helloPayload: Uint8Array): Uint8Array<ArrayBuffer> {
  const { nonce, software, settings } = context;
  const unproven = { version: PROTOCOL_VERSION, nonce, proof: NO_PROOF, software, resetToken, settings };
  const proof = prove(context, SERVER_LABEL, helloPayload, encodeWelcome(unproven).subarray(FRAME_HEADER));
  return encodeWelcome({ ...unproven, proof });
}

function prove({ hmac, key, certificate }: HandshakeContext, label: Uint8Array, ...transcript: Uint8Array[]): Uint8Array {
  return key === null ? NO_PROOF : hmac(key, label, certificate, ...transcript);
}

/** The payload with its proof, a string at `at`, replaced by an empty one. */
function withoutProof(payload: Uint8Array, at: number): Uint8Array {
  // Decoding has made sure that the length is one byte.
  const length = payload[at] ?? 0;
  const rest = payload.subarray(at + 1 + length);
  const bytes = new Uint8Array(at + 1 + rest.length);
  bytes.set(payload.subarray(0, at));
  bytes.set(rest, at + 1);
  return bytes;
}

function rejection(payload: Uint8Array): QtunnelError {
  const { reason, message } = decodeReject(payload);
  if (reason === 'AUTH') return new QtunnelError('AUTH_REJECTED', `The server refused the secret: ${message}`);
  if (reason === 'CERTIFICATE') return new QtunnelError('AUTH_REJECTED', `The server refused the certificate: ${message}`);
  if (reason === 'VERSION') return new QtunnelError('VERSION_MISMATCH', message);
  if (reason === 'BUSY') return new QtunnelError('SERVER_BUSY', message);
  return new QtunnelError('PROTOCOL_VIOLATION', `The server rejected the handshake: ${message}`);
}

/** The version is the first byte of HELLO and WELCOME for good, so another version can be told from garbage before its fields are read. */
function isOtherVersion(payload: Uint8Array): boolean {
  return payload.length > 0 && payload[0] !== PROTOCOL_VERSION;
}

function versionMismatch(who: string, theirs: number): QtunnelError {
  return new QtunnelError(
    'VERSION_MISMATCH',
    `The ${who} speaks protocol version ${theirs}, this side ${PROTOCOL_VERSION}; use the same qtunnel on both.`,
  );
}

function clientProofProblem({ recognise }: HandshakeContext, hasKey: boolean, proven: boolean): string {
  if (!hasKey) return 'The client uses a secret, this server has none; give both the same -secret.';
  if (!proven && recognise !== undefined)
    return 'The client has shown neither a certificate that this server knows nor a secret; give it -cert-file and -key-file, or -secret.';
  return proven
    ? 'The client’s secret is not the server’s, or not the one for its -client-name; give both the same -secret.'
    : 'This server needs a secret, the client gave none; give both the same -secret.';
}

function serverProofProblem(hasKey: boolean, proven: boolean): string {
  if (!hasKey) return 'The server answered with a proof although no secret is in use.';
  if (!proven) return 'The server did not prove that it knows the secret; give both the same -secret.';
  return 'The server’s proof is wrong: somebody between here and the server may be pretending to be it.';
}

export const PROTOCOL_VERSION = 1;
export const ALPN = 'qtunnel/1';
/** The common name in the certificate of a client that has none (docs/PROTOCOL.md, "Certificates of clients"). */
export const NOBODY = 'qtunnel without a certificate';
const encoder = new TextEncoder();
const CLIENT_LABEL = encoder.encode('qtunnel/1 client\0');
const SERVER_LABEL = encoder.encode('qtunnel/1 server\0');
const TO_CLIENT_LABEL = encoder.encode('qtunnel/1 reports to client\0');
const TO_SERVER_LABEL = encoder.encode('qtunnel/1 reports to server\0');
const SHARDS_TO_CLIENT_LABEL = encoder.encode('qtunnel/1 shards to client\0');
const SHARDS_TO_SERVER_LABEL = encoder.encode('qtunnel/1 shards to server\0');
const NO_PROOF = new Uint8Array(0);
/** Where the proof begins: after version (1), link id (8) and nonce (16); after version (1) and nonce (16). */
const HELLO_PROOF_AT = 25;
const WELCOME_PROOF_AT = 17;
