import { type ClientEntry, DEFAULT_BACKEND } from '../config/settings.ts';
import { Bandwidth, partOf } from './bandwidth.ts';

/** What a named client may do on a server or a hub. */
export type ClientRights = Pick<ClientEntry, 'name' | 'backends' | 'maxConnections' | 'bandwidth' | 'ports'>;

/** The named clients of a server tunnel. What they have open outlives a change of their rights. */
export class Accounts {
  #accounts: ReadonlyMap<string, Account> = new Map();

  /** `parts`: of how many equal parts of the tunnel this is one; each has its part of a bandwidth. */
  use(clients: readonly ClientRights[], parts: number): void {
    this.#accounts = new Map(
      clients.map((rights) => {
        const account = this.#accounts.get(rights.name) ?? new Account(rights);
        account.rights = rights;
        account.bandwidth.setRate(partOf(rights.bandwidth, parts));
        return [rights.name, account];
      }),
    );
  }

  /** Of all clients that have a name. */
  get rights(): readonly ClientRights[] {
    return [...this.#accounts.values()].map(({ rights }) => rights);
  }

  /** Null for a client that has no name and may do everything; undefined for a name that is nobody's, or nobody's any more. */
  of(client: string): Account | null | undefined {
    return client === '' ? null : this.#accounts.get(client);
  }
}

export class Account {
  rights: ClientRights;
  readonly bandwidth = new Bandwidth(null);

  constructor(rights: ClientRights) {
    this.rights = rights;
  }

  /** Whether it may reach the backend of this name; it is empty for the one without. */
  mayReach(backend: string): boolean {
    return this.rights.backends?.includes(backend === '' ? DEFAULT_BACKEND : backend) ?? true;
  }
}
