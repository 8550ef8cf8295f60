import type { IncomingHttpHeaders } from 'node:http';
import { type BlockList, isIP } from 'node:net';
import { isIn } from '../allow-list.ts';
import type { Author, Role } from '../store/store.ts';
import { Refusal } from './refusal.ts';
import type { Bearer, Tokens } from './tokens.ts';

/** What is looked at before a request is read. */
export interface Visitor {
  /** Its IP address. */
  readonly ip: string;
  readonly secure: boolean;
  readonly headers: IncomingHttpHeaders;
}

/** Who is let in, and what he may do. */
export interface Admitted extends Author {
  readonly role: Role;
}

/**
 * Who may ask for what.
 *
 * As long as there is no token, whoever reaches the API may use it, and it listens on loopback only. A web page in a browser on this machine
 * reaches it too. It is kept out: a page of another origin says so in `Origin`, a page whose name was made to point here (DNS rebinding)
 * asks for a host that is not this one, and JSON bodies need a content type that a browser sends to another origin only when that has allowed it.
 */
export class Guard {
  readonly #tokens: Tokens;
  /** Of the clients that may ask; null for all. */
  networks: BlockList | null;

  constructor(tokens: Tokens, networks: BlockList | null) {
    this.#tokens = tokens;
    this.networks = networks;
  }

  /**
   * @param role what the request needs; null for nothing.
   * @throws Refusal
   */
  admit({ ip, secure, headers }: Visitor, role: Role | null): Admitted {
    if (this.networks !== null && !isIn(this.networks, ip))
      throw new Refusal('ADDRESS_REFUSED', `Requests from ${ip} are not taken here (-api-allow).`);
    refuseOtherOrigin(headers, secure);
    if (role !== null) refuseOtherSite(headers['sec-fetch-site']);
    if (!this.#tokens.needed) {
      refuseOtherHost(headers.host);
      return { actor: 'anybody on this machine', peer: ip, role: 'manage' };
    }
    if (role === null) return { actor: 'anybody', peer: ip, role: 'read' };
    const { actor, role: granted } = this.#bearer(headers.authorization);
    if (role === 'manage' && granted !== 'manage')
      throw new Refusal('ROLE_INSUFFICIENT', 'This token may only read: use one with the role "manage".');
    return { actor, peer: ip, role: granted };
  }

  #bearer(authorization: string | undefined): Bearer {
    const [, text] = BEARER.exec(authorization ?? '') ?? [];
    if (text === undefined)
      throw new Refusal('TOKEN_MISSING', 'This needs a token: send "authorization: Bearer TOKEN".', { headers: CHALLENGE });
    const bearer = this.#tokens.find(text);
    if (bearer === null)
      throw new Refusal('TOKEN_UNKNOWN', 'There is no such token; it may have been removed.', {
        headers: { 'www-authenticate': `${CHALLENGE['www-authenticate']}, error="invalid_token"` },
      });
    return bearer;
  }
}

/** Whether only this machine reaches a listener on this host. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host.toLowerCase() === 'localhost';
  return host === '::1' || /^(::ffff:)?127\./i.test(host);
}

function refuseOtherOrigin({ origin, host = '' }: IncomingHttpHeaders, secure: boolean): void {
  if (origin === undefined || origin.toLowerCase() === `${secure ? 'https' : 'http'}://${host.toLowerCase()}`) return;
  throw new Refusal('ORIGIN_REFUSED', OTHER_ORIGIN);
}

/**
 * A page of another origin can also ask without saying from where (an image, `no-cors`), and learns nothing by it; but it must not take the places
 * of those who listen. Current browsers say that it is one.
 */
function refuseOtherSite(site: string | string[] | undefined): void {
  if (site === 'cross-site' || site === 'same-site') throw new Refusal('ORIGIN_REFUSED', OTHER_ORIGIN);
}

function refuseOtherHost(host = ''): void {
  const [, bracketed, plain] = HOST.exec(host) ?? [];
  if (isLoopback(bracketed ?? plain ?? '')) return;
  throw new Refusal(
    'HOST_REFUSED',
    'Without a token the API is asked as localhost, 127.0.0.1 or [::1] only; make a token for other names.',
  );
}

const OTHER_ORIGIN = 'Pages of other origins are not answered.';
const BEARER = /^Bearer +([\w.~+/=-]{1,256})$/i;
const CHALLENGE = { 'www-authenticate': 'Bearer realm="qtunnel hub"' };
const HOST = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::\d{1,5})?$/;
