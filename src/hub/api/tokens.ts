import { createHash, randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { timingSafeEqual } from '../../identity/secret.ts';
import type { Author, KeptToken, Role, Store } from '../store/store.ts';
import { Turns } from '../turns.ts';
import { Refusal } from './refusal.ts';

export interface TokensOptions {
  readonly store: Store;
  /** One more that may manage, from `-api-token-file`; null for none. */
  readonly fileToken: string | null;
  /** Whether the API would be open to this machine only, and so may be without a token. */
  readonly loopback: boolean;
}

/** Who a token belongs to. */
export interface Bearer {
  readonly actor: string;
  readonly role: Role;
}

/** The tokens of the API. As long as there is none, who reaches it may do everything. */
export class Tokens {
  readonly #options: TokensOptions;
  #fileHash: Buffer | null = null;
  #tokens: readonly KeptToken[] = [];
  readonly #turns = new Turns();
  #changed = controllerForMany();

  constructor(options: TokensOptions) {
    this.#options = options;
    this.#fileHash = hashOf(options.fileToken);
  }

  /** Another token of `-api-token-file`; null for none. */
  useFile(fileToken: string | null): void {
    const hash = hashOf(fileToken);
    if (isDeepStrictEqual(hash, this.#fileHash)) return;
    this.#fileHash = hash;
    this.#set(this.#tokens);
  }

  /** Reads them from the database. @throws QtunnelError `DATABASE_FAILED` */
  refresh(): Promise<void> {
    return this.#turns.next(async () => {
      this.#set(await this.#options.store.tokens());
    });
  }

  /** Whether there is any. */
  get any(): boolean {
    return this.#fileHash !== null || this.#tokens.length > 0;
  }

  /** Whether a request needs one. An API that other machines reach always does: another hub with this database may have removed the last. */
  get needed(): boolean {
    return !this.#options.loopback || this.any;
  }

  /** Fires with the next change: who was let in for longer than a request has to ask again. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  list(): readonly KeptToken[] {
    return this.#tokens;
  }

  /** Null for a token that is none. In a time that does not depend on how much of it is right. */
  find(text: string): Bearer | null {
    const hash = sha256(text);
    const [, id] = TOKEN.exec(text) ?? [];
    const kept = this.#tokens.find((token) => token.id === id);
    const isKept = timingSafeEqual(hash, kept === undefined ? NO_HASH : Buffer.from(kept.hash, 'hex'));
    const isOfFile = timingSafeEqual(hash, this.#fileHash ?? NO_HASH);
    if (isOfFile) return { actor: FILE, role: 'manage' };
    return isKept && kept !== undefined ? { actor: kept.name, role: kept.role } : null;
  }

  /** A new one with its text, which is nowhere else. @throws Refusal `TOKEN_NEEDED`, QtunnelError `DATABASE_FAILED` */
  create(name: string, role: Role, by: Author): Promise<{ readonly kept: KeptToken; readonly text: string }> {
    return this.#turns.next(async () => {
      if (!this.any && role !== 'manage') {
        throw new Refusal('TOKEN_NEEDED', 'The first token has to be one that may manage: nobody could make another one.', {
          fields: [{ field: 'role', message: 'expected "manage" for the first token' }],
        });
      }
      const id = randomBytes(ID_BYTES).toString('hex');
      const text = `${PREFIX}${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
      const kept = { id, name, role, hash: sha256(text).toString('hex'), createdAt: new Date() };
      await this.#options.store.addToken(kept, by);
      this.#set([...this.#tokens, kept]);
      return { kept, text };
    });
  }

  /** False when there is none of this id. @throws Refusal `TOKEN_NEEDED`, QtunnelError `DATABASE_FAILED` */
  remove(id: string, by: Author): Promise<boolean> {
    return this.#turns.next(async () => {
      if (!this.#tokens.some((token) => token.id === id)) return false;
      const rest = this.#tokens.filter((token) => token.id !== id);
      this.#refuseLockOut(rest);
      const removed = await this.#options.store.removeToken(id, by);
      this.#set(rest);
      return removed;
    });
  }

  #set(tokens: readonly KeptToken[]): void {
    this.#tokens = tokens;
    this.#changed.abort();
    this.#changed = controllerForMany();
  }

  #refuseLockOut(rest: readonly KeptToken[]): void {
    if (this.#fileHash !== null || rest.some(({ role }) => role === 'manage')) return;
    if (rest.length > 0)
      throw new Refusal('TOKEN_NEEDED', 'This is the last token that may manage: make another one, or remove the others first.');
    if (!this.#options.loopback)
      throw new Refusal(
        'TOKEN_NEEDED',
        'This is the last token, and the API can be reached from other machines: make another one first.',
      );
  }
}

/** Each open stream of events listens to it. */
function controllerForMany(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

function hashOf(fileToken: string | null): Buffer | null {
  return fileToken === null ? null : sha256(fileToken);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** `qth_`, 12 hexadecimal digits that are its id, and 43 characters that are the secret. */
const TOKEN = /^qth_([\da-f]{12})_[\w-]{43}$/;
const PREFIX = 'qth_';
const ID_BYTES = 6;
const SECRET_BYTES = 32;
const FILE = '-api-token-file';
/** No text has this hash. */
const NO_HASH = Buffer.alloc(32);
