import { createHash } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ticket, TicketStore } from '../quic/tickets.ts';
import { errorCode, makePrivateDirectory, readText, stageFile } from './files.ts';

/** Tickets as files of mode 0600 in `stateDir`, under a name made of `of`: what they are good for. */
export class TicketFiles implements TicketStore {
  readonly #folder: string;
  readonly #name: string;
  #say: (problem: string) => void;

  /** `say` is called once, when tickets cannot be kept. */
  constructor(stateDir: string, of: readonly string[], say: (problem: string) => void = () => {}) {
    this.#say = say;
    this.#folder = join(stateDir, 'tickets');
    this.#name = createHash('sha256').update(JSON.stringify(of)).digest('hex').slice(0, NAME_DIGITS);
  }

  async take(place: number): Promise<Ticket | null> {
    const file = this.#file(place);
    // Of several processes one gets it.
    const taken = `${file}.${process.pid}`;
    try {
      await rename(file, taken);
      return await ticketFrom(await readText(taken, 'ticket'));
    } catch {
      return null;
    } finally {
      await rm(taken, { force: true }).catch(() => {});
    }
  }

  async keep(place: number, { session, chain, wantsEndpoints }: Ticket): Promise<void> {
    const text = JSON.stringify({ session: base64(session), chain: chain.map(base64), wantsEndpoints });
    try {
      await makePrivateDirectory(this.#folder);
      const staged = await stageFile(this.#file(place), text, 0o600);
      await staged.replace().finally(staged.discard);
    } catch (error) {
      const why = `${this.#folder} cannot be written (${errorCode(error)})`;
      this.#say(`${why}: without a ticket the next start says nothing early; name another -state-dir.`);
      this.#say = () => {};
    }
  }

  #file(place: number): string {
    return join(this.#folder, `${this.#name}-${place}.json`);
  }
}

async function ticketFrom(text: string): Promise<Ticket> {
  const { z } = await import('zod');
  const piece = z.base64().min(1);
  const form = z.object({ session: piece, chain: z.array(piece).min(1), wantsEndpoints: z.boolean() });
  const { session, chain, wantsEndpoints } = form.parse(JSON.parse(text));
  return { session: bytes(session), chain: chain.map(bytes), wantsEndpoints };
}

const bytes = (text: string) => Buffer.from(text, 'base64');
const base64 = (value: Uint8Array) => Buffer.from(value).toString('base64');
const NAME_DIGITS = 32;
