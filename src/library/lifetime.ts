import { asQtunnelError, QtunnelError } from '../errors.ts';
import type { RunningSettings, SettingsChange, Tunnel } from '../tunnel/tunnel.ts';
import { abortError, onAbort, throwIfAborted } from './abort.ts';

/**
 * Starts a tunnel unless the signal has fired. When it fires meanwhile, nothing is left behind.
 * @throws QtunnelError `ABORTED`, and what `start` throws.
 */
export async function startUnlessAborted<T extends Tunnel>(signal: AbortSignal | undefined, start: () => Promise<T>): Promise<T> {
  throwIfAborted([signal]);
  const tunnel = await start();
  try {
    throwIfAborted([signal]);
    return tunnel;
  } catch (error) {
    await tunnel.close(asQtunnelError(error));
    throw error;
  }
}

/**
 * From a tunnel's start to its end:
 *
 *     running ── drain ──▶ draining ──▶ ended
 *        └── close, or the signal ──────▶ ended
 */
export class Lifetime<Settings extends RunningSettings> {
  readonly #tunnel: TunnelTaking<Settings>;
  readonly #onEnd: () => void;
  readonly #stopping = new AbortController();
  readonly #forgetSignal: () => void;
  #reloading: Promise<unknown> = Promise.resolve();
  #draining: Promise<boolean> | null = null;
  #closing: Promise<void> | null = null;
  #cutOff = false;

  /** `onEnd` is called once, when everything has ended. */
  constructor(tunnel: TunnelTaking<Settings>, signal: AbortSignal | undefined, onEnd: () => void) {
    this.#tunnel = tunnel;
    this.#onEnd = onEnd;
    this.#forgetSignal = onAbort([signal], (reason) => void this.close(reason));
  }

  /** Fires with a QtunnelError when nothing new is to be begun. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  drain(): Promise<boolean> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  close(reason: QtunnelError = STOPPED): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  /** One after the other. @throws QtunnelError `SHUTTING_DOWN` after the end, and what is wrong with the settings; nothing has changed then. */
  reload(settings: () => Settings): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload(settings()));
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  async #drain(): Promise<boolean> {
    if (this.#closing !== null) {
      await this.#closing;
      return !this.#cutOff;
    }
    this.#stopping.abort(STOPPED);
    const drained = await this.#tunnel.drain();
    await this.close();
    return drained && !this.#cutOff;
  }

  async #close(reason: QtunnelError): Promise<void> {
    this.#forgetSignal();
    this.#cutOff = this.#tunnel.connections > 0;
    this.#stopping.abort(reason);
    await this.#tunnel.close(reason);
    this.#onEnd();
  }

  async #reload(settings: Settings): Promise<void> {
    if (this.stopping.aborted) throw abortError(this.stopping);
    const change = await this.#tunnel.prepare(settings);
    change.takeEffect();
  }
}

type TunnelTaking<Settings> = Omit<Tunnel, 'prepare'> & { prepare(settings: Settings): Promise<SettingsChange> };

const STOPPED = new QtunnelError('SHUTTING_DOWN', 'The tunnel was stopped.');
