import type { Problem } from './types.ts';

/**
 * Asks the hub, with the token that somebody has signed in with.
 *
 * The token is in this tab's session storage: it survives a reload and ends with the tab. It goes out in the Authorization header only, never in a
 * URL or a cookie, so no other page can make the browser use it; and no script but the page's own can read it, by its content security policy.
 */
export class HubApi {
  /** Called when a token is needed, or the one that there was is not good any more. */
  onTokenNeeded: (problem: HubProblem) => void = () => {};

  get token(): string | null {
    return sessionStorage.getItem(KEY);
  }

  set token(token: string | null) {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  }

  /** @throws HubProblem */
  async call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T> {
    const response = await this.open(method, path, AbortSignal.timeout(TIMEOUT_MS), body);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  /** The answer before its body was read. @throws HubProblem */
  async open(method: string, path: string, signal: AbortSignal, body?: object): Promise<Response> {
    const { token } = this;
    const response = await fetch(path, {
      method,
      signal,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      throw signal.aborted ? error : new HubProblem(UNREACHABLE);
    });
    if (response.ok) return response;
    const problem = new HubProblem((await response.json().catch(() => ({ ...UNREACHABLE, status: response.status }))) as Problem);
    // An answer to one that was signed out meanwhile says nothing of who is signed in now.
    if (problem.status === 401 && token === this.token) this.onTokenNeeded(problem);
    throw problem;
  }
}

/** What the hub says when it does not do what it is asked. */
export class HubProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: readonly { readonly field: string; readonly message: string }[];

  constructor({ status, code, detail, errors }: { status: number; code: string; detail: string; errors: Problem['errors'] }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.fields = errors;
  }
}

/** What to tell somebody about an error of `call`. */
export function saidOf(error: unknown): string {
  return error instanceof HubProblem ? error.message : UNREACHABLE.detail;
}

const UNREACHABLE = { status: 0, code: '', detail: 'The hub does not answer; is it running, and is there a network?', errors: [] };
const KEY = 'qtunnel-token';
const TIMEOUT_MS = 20_000;
