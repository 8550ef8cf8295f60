import { confirmRemoval } from './dialogs.ts';
import { announce, button, byId, make, setText } from './dom.ts';
import { FormFields } from './form-fields.ts';
import { HubProblem, saidOf, type HubApi } from './hub-api.ts';
import type { Rules } from './rules.ts';
import type { AuditEntry, NewToken, Token } from './types.ts';

export interface TokensCardOptions {
  readonly api: HubApi;
  rules(): Rules | null;
  /** After the tokens have changed, which ends the hub's events. */
  changed(): void;
}

/** The tokens of the API and the audit log, for who may manage. */
export class TokensCard {
  readonly #options: TokensCardOptions;
  readonly #fields: FormFields;
  readonly #audit = byId('audit-details', HTMLDetailsElement);

  constructor(options: TokensCardOptions) {
    this.#options = options;
    const form = byId('token-form', HTMLFormElement);
    this.#fields = new FormFields(form, () => new Map(options.rules()?.problems('TokenInput', this.#input(), ['name'])));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#create();
    });
    this.#audit.addEventListener('toggle', () => void this.refreshAudit());
    const copy = byId('copy-token', HTMLButtonElement);
    // A page over plain HTTP from another machine has no clipboard.
    copy.hidden = (navigator as Partial<Navigator>).clipboard === undefined;
    copy.addEventListener('click', () => {
      void navigator.clipboard.writeText(byId('new-token-text', HTMLElement).textContent ?? '').then(() => announce('Copied'));
    });
  }

  /** @throws HubProblem when the hub does not answer */
  async refresh(mayManage: boolean): Promise<void> {
    if (mayManage) {
      const { tokens } = await this.#options.api.call<{ tokens: Token[] }>('GET', '/api/v1/tokens');
      this.#show(tokens);
    }
    byId('tokens-section', HTMLElement).hidden = !mayManage;
  }

  /** Forgets what only who may manage is to see. */
  clear(): void {
    this.#forget();
    this.#show([]);
    byId('audit', HTMLElement).replaceChildren();
    this.#audit.open = false;
  }

  async refreshAudit(): Promise<void> {
    if (!this.#audit.open) return;
    try {
      const { entries } = await this.#options.api.call<{ entries: AuditEntry[] }>('GET', '/api/v1/audit?limit=30');
      byId('audit', HTMLElement).replaceChildren(...entries.map(auditItem));
    } catch (error) {
      announce(saidOf(error));
    }
  }

  #show(tokens: readonly Token[]): void {
    const table = byId('tokens', HTMLTableElement);
    table.hidden = tokens.length === 0;
    const first = tokens.length === 0 && this.#options.api.token === null;
    byId('no-tokens', HTMLElement).hidden = !first;
    // The first one has to be one that may manage.
    byId('token-role', HTMLSelectElement).value = first ? 'manage' : 'read';
    table.tBodies[0]!.replaceChildren(
      ...tokens.map((token) =>
        make(
          'tr',
          {},
          make('td', { 'data-label': 'Name' }, token.name),
          make('td', { 'data-label': 'Role' }, token.role),
          make('td', { 'data-label': 'Made' }, new Date(token.created_at).toLocaleString()),
          make(
            'td',
            { class: 'action' },
            button('Remove', () => void this.#remove(token), { class: 'small', 'aria-label': `Remove the token ${token.name}` }),
          ),
        ),
      ),
    );
  }

  #input(): { name: string | undefined; role: string | undefined } {
    return { name: this.#fields.text('name'), role: this.#fields.text('role') };
  }

  async #create(): Promise<void> {
    this.#forget();
    if (!this.#fields.accept()) return;
    const { api, changed } = this.#options;
    try {
      const made = await api.call<NewToken>('POST', '/api/v1/tokens', this.#input());
      // Who made the first one would be locked out by it.
      api.token ??= made.token;
      setText(byId('new-token-name', HTMLElement), made.name);
      setText(byId('new-token-text', HTMLElement), made.token);
      this.#fields.reset();
      const place = byId('new-token', HTMLElement);
      place.hidden = false;
      place.focus();
      changed();
    } catch (error) {
      const fields = error instanceof HubProblem ? error.fields : [];
      this.#fields.refuse(
        fields.length > 0 ? new Map(fields.map(({ field, message }) => [field, message])) : new Map([['', saidOf(error)]]),
      );
    }
  }

  async #remove({ id, name }: Token): Promise<void> {
    if (!(await confirmRemoval(`Remove the token ${name}?`, 'Who uses it is refused from then on.'))) return;
    try {
      await this.#options.api.call('DELETE', `/api/v1/tokens/${id}`);
      announce(`The token ${name} is gone`);
      this.#forget();
      byId('token-name', HTMLElement).focus();
      this.#options.changed();
    } catch (error) {
      announce(saidOf(error));
    }
  }

  #forget(): void {
    byId('new-token', HTMLElement).hidden = true;
    setText(byId('new-token-text', HTMLElement), '');
  }
}

function auditItem({ at, actor, peer, action, subject }: AuditEntry): HTMLLIElement {
  return make(
    'li',
    {},
    make('time', { datetime: at, class: 'quiet' }, new Date(at).toLocaleString()),
    ` ${actor}${peer === '' ? '' : ` (${peer})`}: ${action} ${subject}`,
  );
}
