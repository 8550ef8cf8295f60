import { QtunnelError } from '../errors.ts';
import { ByteReader, ByteWriter, fromHex, toHex, writeVarint } from './bytes.ts';
import { FRAME, frame, FRAME_HEADER, MAX_CONTROL, writeFrameHeader } from './frames.ts';
import { type Endpoints, readEndpoints } from './proxy-protocol.ts';
import { resetReason, RESET_REASONS, type ResetReason } from './reset.ts';

/**
 * The payloads of docs/PROTOCOL.md, "Frames". `encode…` gives a whole frame, `decode…` takes a payload and throws `PROTOCOL_VIOLATION`.
 * Messages for a person are cut to 200 characters.
 */

export interface LinkSettings {
  /** Bytes the peer may send on a stream before the first CREDIT. */
  readonly initialCredit: number;
  /** Streams the peer may have open at once. */
  readonly maxStreams: number;
  /** Milliseconds of silence after which this side gives the link up. */
  readonly idleTimeout: number;
  /** Shards that a block to this side may have (QUIC only); 0 when it takes no blocks. */
  readonly shards: number;
  /** 1 when this side takes parity shards, otherwise 0 (QUIC only). */
  readonly parity: number;
  /** Bytes of the largest datagram of a stream that this side takes; 0 for none. */
  readonly datagrams: number;
  /** 1 at a client that takes streams of the server's, and at a server that may open some; otherwise 0. */
  readonly serverOpens: number;
  /** 1 when this side takes one stream after another on a TLS connection, otherwise 0 (TLS only). */
  readonly reuse: number;
  /** 1 when this side lets streams begin on the control connection, otherwise 0 (TLS only). */
  readonly lane: number;
  /** 1 when OPEN to this side has to say between which addresses the TCP connection is, otherwise 0. */
  readonly endpoints: number;
}

export interface Hello {
  readonly version: number;
  /** 16 hexadecimal digits. */
  readonly linkId: string;
  readonly nonce: Uint8Array;
  readonly proof: Uint8Array;
  readonly software: string;
  readonly settings: LinkSettings;
  /** The client's name; empty without one. */
  readonly client: string;
}

export interface Welcome {
  readonly version: number;
  readonly nonce: Uint8Array;
  readonly proof: Uint8Array;
  readonly software: string;
  readonly resetToken: Uint8Array;
  readonly settings: LinkSettings;
}

export const REJECT_REASONS = { AUTH: 1, VERSION: 2, BUSY: 3, PROTOCOL: 4, CERTIFICATE: 5 } as const;
export type RejectReason = keyof typeof REJECT_REASONS;

export function encodeHello(hello: Hello): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter()
    .u8(hello.version)
    .raw(fromHex(hello.linkId))
    .raw(hello.nonce)
    .block(hello.proof)
    .string(hello.software);
  writeSettings(writer, hello.settings);
  if (hello.client !== '') writer.varint(SETTING.CLIENT).string(hello.client);
  return frame(FRAME.HELLO, writer.finish());
}

export function decodeHello(payload: Uint8Array): Hello {
  const reader = new ByteReader(payload);
  const version = reader.u8();
  const linkId = toHex(reader.raw(LINK_ID));
  const nonce = reader.raw(NONCE);
  return { version, linkId, nonce, proof: readProof(reader), software: reader.string(), ...readSettings(reader) };
}

export function encodeWelcome(welcome: Welcome): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().u8(welcome.version).raw(welcome.nonce).block(welcome.proof).string(welcome.software);
  return frame(FRAME.WELCOME, writeSettings(writer.raw(welcome.resetToken), welcome.settings).finish());
}

export function decodeWelcome(payload: Uint8Array): Welcome {
  const reader = new ByteReader(payload);
  const version = reader.u8();
  const nonce = reader.raw(NONCE);
  const proof = readProof(reader);
  const software = reader.string();
  return { version, nonce, proof, software, resetToken: reader.raw(RESET_TOKEN), settings: readSettings(reader).settings };
}

export function encodeReject(reason: RejectReason, message: string): Uint8Array<ArrayBuffer> {
  return frame(FRAME.REJECT, new ByteWriter().u8(REJECT_REASONS[reason]).string(shortened(message)).finish());
}

export function decodeReject(payload: Uint8Array): { reason: RejectReason; message: string } {
  const reader = new ByteReader(payload);
  const number = reader.u8();
  const name = Object.entries(REJECT_REASONS).find(([, value]) => value === number)?.[0] ?? 'PROTOCOL';
  return { reason: name as RejectReason, message: reader.string() };
}

/** `opaque` is 8 bytes that come back in PONG. */
export function encodePing(type: typeof FRAME.PING | typeof FRAME.PONG, opaque: Uint8Array): Uint8Array<ArrayBuffer> {
  return frame(type, opaque);
}

export function decodePing(payload: Uint8Array): Uint8Array {
  return new ByteReader(payload).raw(8);
}

/** `drained` says that the sender has no streams left either. */
export function encodeGoAway(message: string, drained = false): Uint8Array<ArrayBuffer> {
  const flag = drained ? 1 : 0;
  return frame(FRAME.GOAWAY, new ByteWriter().string(shortened(message)).u8(flag).finish());
}

export function decodeGoAway(payload: Uint8Array): { message: string; drained: boolean } {
  const reader = new ByteReader(payload);
  return { message: reader.string(), drained: reader.u8() === 1 };
}

/** `stream` is 0 on a TLS connection of the stream's own; `tag` is 16 hexadecimal digits. */
export function encodeOpen(
  stream: number,
  tag: string,
  target: string,
  endpoints: Endpoints | null = null,
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().varint(stream).raw(fromHex(tag)).string(target);
  return frame(FRAME.OPEN, (endpoints === null ? writer : writer.raw(endpoints)).finish());
}

export function decodeOpen(payload: Uint8Array): { stream: number; tag: string; target: string; endpoints?: Endpoints } {
  const reader = new ByteReader(payload);
  const open = { stream: reader.varint(), tag: toHex(reader.raw(TAG)), target: reader.string() };
  const endpoints = readEndpoints(reader);
  return endpoints === null ? open : { ...open, endpoints };
}

/** On a TLS connection of the stream's own FIN has no payload. */
export function encodeFin(stream: number): Uint8Array<ArrayBuffer> {
  return frame(FRAME.FIN, new ByteWriter().varint(stream).finish());
}

export function decodeFin(payload: Uint8Array): number {
  return new ByteReader(payload).varint();
}

/** The rest of this direction of `stream` comes on QUIC's stream `quicStream`. */
export function encodeMove(stream: number, quicStream: number): Uint8Array<ArrayBuffer> {
  return frame(FRAME.MOVE, new ByteWriter().varint(stream).varint(quicStream).finish());
}

export function decodeMove(payload: Uint8Array): { stream: number; quicStream: number } {
  const reader = new ByteReader(payload);
  return { stream: reader.varint(), quicStream: reader.varint() };
}

/** Writes a whole SMALL frame, at most `SMALL_HEADER` bytes longer than `bytes`, into `into` from `at` on, and returns where it ends. */
export function writeSmall(into: Uint8Array, at: number, stream: number, bytes: Uint8Array): number {
  const start = at + FRAME_HEADER;
  const data = writeVarint(into, start, stream);
  into.set(bytes, data);
  const end = data + bytes.length;
  writeFrameHeader(into, at, FRAME.SMALL, end - start);
  return end;
}

/** The stream of a SMALL frame, and where in the payload its bytes begin. */
export function decodeSmall(payload: Uint8Array): { stream: number; offset: number } {
  const reader = new ByteReader(payload);
  return { stream: reader.varint(), offset: payload.length - reader.remaining };
}

/**
 * TLS only: from its byte `offset` on, this direction of `stream` comes on the connection that this frame is on. `ended` says that nothing comes any more.
 */
export function encodeAttach(stream: number, offset: number, ended: boolean): Uint8Array<ArrayBuffer> {
  return frame(
    FRAME.ATTACH,
    new ByteWriter()
      .varint(stream)
      .varint(offset)
      .u8(ended ? 1 : 0)
      .finish(),
  );
}

export function decodeAttach(payload: Uint8Array): { stream: number; offset: number; ended: boolean } {
  const reader = new ByteReader(payload);
  return { stream: reader.varint(), offset: reader.varint(), ended: reader.u8() === 1 };
}

/** `stream` is 0 on a TLS connection of the stream's own. */
export function encodeReset(stream: number, reason: ResetReason, message: string): Uint8Array<ArrayBuffer> {
  return frame(FRAME.RESET, new ByteWriter().varint(stream).u8(RESET_REASONS[reason]).string(shortened(message)).finish());
}

export function decodeReset(payload: Uint8Array): { stream: number; reason: ResetReason; message: string } {
  const reader = new ByteReader(payload);
  return { stream: reader.varint(), reason: resetReason(reader.u8()), message: reader.string() };
}

export function encodeCredit(stream: number, offset: number): Uint8Array<ArrayBuffer> {
  return frame(FRAME.CREDIT, new ByteWriter().varint(stream).varint(offset).finish());
}

export function decodeCredit(payload: Uint8Array): { stream: number; offset: number } {
  const reader = new ByteReader(payload);
  return { stream: reader.varint(), offset: reader.varint() };
}

function shortened(message: string): string {
  return message.slice(0, LONGEST_MESSAGE);
}

/** 0 or 32 bytes with a length of one byte: another form of the length would shift what the proof covers against what is parsed. */
function readProof(reader: ByteReader): Uint8Array {
  const length = reader.u8();
  if (length !== 0 && length !== PROOF) throw new QtunnelError('PROTOCOL_VIOLATION', `A proof has a length of ${length}.`);
  return reader.raw(length);
}

function writeSettings(writer: ByteWriter, settings: LinkSettings): ByteWriter {
  return writer
    .varint(SETTING.INITIAL_CREDIT)
    .varint(settings.initialCredit)
    .varint(SETTING.MAX_STREAMS)
    .varint(settings.maxStreams)
    .varint(SETTING.IDLE_TIMEOUT)
    .varint(settings.idleTimeout)
    .varint(SETTING.SHARDS)
    .varint(settings.shards)
    .varint(SETTING.PARITY)
    .varint(settings.parity)
    .varint(SETTING.SERVER_OPENS)
    .varint(settings.serverOpens)
    .varint(SETTING.DATAGRAMS)
    .varint(settings.datagrams)
    .varint(SETTING.REUSE)
    .varint(settings.reuse)
    .varint(SETTING.LANE)
    .varint(settings.lane)
    .varint(SETTING.ENDPOINTS)
    .varint(settings.endpoints);
}

function readSettings(reader: ByteReader): { settings: LinkSettings; client: string } {
  const values = new Map<number, number>();
  let client = '';
  while (reader.remaining > 0) {
    const id = reader.varint();
    if (id === SETTING.CLIENT) client = reader.string();
    else values.set(id, reader.varint());
  }
  return { settings: settingsFrom(values), client };
}

function settingsFrom(values: ReadonlyMap<number, number>): LinkSettings {
  return {
    initialCredit: values.get(SETTING.INITIAL_CREDIT) ?? 65_536,
    maxStreams: values.get(SETTING.MAX_STREAMS) ?? 1_024,
    idleTimeout: values.get(SETTING.IDLE_TIMEOUT) ?? 30_000,
    shards: values.get(SETTING.SHARDS) ?? 0,
    parity: values.get(SETTING.PARITY) ?? 0,
    serverOpens: values.get(SETTING.SERVER_OPENS) ?? 0,
    datagrams: values.get(SETTING.DATAGRAMS) ?? 0,
    reuse: values.get(SETTING.REUSE) ?? 0,
    lane: values.get(SETTING.LANE) ?? 0,
    endpoints: values.get(SETTING.ENDPOINTS) ?? 0,
  };
}

export const LINK_ID = 8;
export const TAG = 8;
export const NONCE = 16;
export const RESET_TOKEN = 16;
/** Bytes of a SMALL frame before its data, at most, and of data, at most. */
export const SMALL_HEADER = FRAME_HEADER + 8;
export const MAX_SMALL = MAX_CONTROL - 8;
const PROOF = 32;
/** Keeps a frame far below MAX_CONTROL, whatever the characters. */
const LONGEST_MESSAGE = 200;
const SETTING = {
  INITIAL_CREDIT: 0x01,
  MAX_STREAMS: 0x02,
  IDLE_TIMEOUT: 0x03,
  SHARDS: 0x04,
  PARITY: 0x05,
  SERVER_OPENS: 0x06,
  DATAGRAMS: 0x07,
  REUSE: 0x10,
  LANE: 0x11,
  ENDPOINTS: 0x20,
  CLIENT: 0x30,
};
/** What a peer allows that says nothing. */
export const DEFAULT_SETTINGS: LinkSettings = settingsFrom(new Map());
