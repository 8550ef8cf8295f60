import { frame, FRAME, FRAME_HEADER, FrameReader, writeFrameHeader } from '../../src/protocol/frames.ts';
import type { Case } from './case.ts';

/** The frames of the TLS transport, as many as a socket hands out at once. */
export function frameCases(): Case[] {
  return [read('frames: read DATA of 16 KB', 16_384), read('frames: read DATA of 100 bytes', 100), readControl(), write()];
}

function read(name: string, payload: number): Case {
  const one = frame(FRAME.DATA, new Uint8Array(payload));
  const operations = Math.floor(CHUNK / one.length);
  const chunk = repeat(one, operations);
  let bytes = 0;
  const reader = new FrameReader({ onFrame() {}, onData: (part) => void (bytes += part.length) });
  const run = () => {
    bytes = 0;
    reader.push(chunk);
    if (bytes !== operations * payload) throw new Error('Bytes are missing.');
  };
  return { name, bytes: 0, operations, run };
}

function readControl(): Case {
  const chunk = repeat(frame(FRAME.PING, new Uint8Array(8)), FRAMES);
  let frames = 0;
  const reader = new FrameReader({ onFrame: () => void frames++, onData() {} });
  const run = () => {
    frames = 0;
    reader.push(chunk);
    if (frames !== FRAMES) throw new Error('Frames are missing.');
  };
  return { name: 'frames: read PING', bytes: 0, operations: FRAMES, run };
}

function write(): Case {
  const chunk = new Uint8Array(FRAMES * FRAME_HEADER);
  const run = () => {
    for (let i = 0; i < FRAMES; i++) writeFrameHeader(chunk, i * FRAME_HEADER, FRAME.DATA, i);
  };
  return { name: 'frames: write a header', bytes: 0, operations: FRAMES, run };
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

const CHUNK = 65_536;
const FRAMES = 1_000;
