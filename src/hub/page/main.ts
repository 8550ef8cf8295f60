import { AgentsTable } from './agents-table.ts';
import { Chart } from './chart.ts';
import { CreateDialog } from './create-dialog.ts';
import { DetailsDialog } from './details-dialog.ts';
import { confirmRemoval, prepareDialogs } from './dialogs.ts';
import { announce, byId, setText } from './dom.ts';
import { countText, rateText } from './format.ts';
import { HubApi, type HubProblem, saidOf } from './hub-api.ts';
import { LiveEvents } from './live-events.ts';
import { MappingsTable } from './mappings-table.ts';
import { keyOf, RecentRates } from './recent-rates.ts';
import { type OpenApiDocument, Rules } from './rules.ts';
import { TokensCard } from './tokens-card.ts';
import type { History, Mapping, Moment, Stats } from './types.ts';

/** The page: what it knows of the hub, and what shows it. */
class Page {
  readonly #api = new HubApi();
  readonly #recent = new RecentRates();
  #rules: Rules | null = null;
  #stats: Stats | null = null;
  #mappings: readonly Mapping[] = [];
  #moment: Moment | null = null;
  #history: History | null = null;
  #mayManage = false;
  #moments = 0;
  #reading: Promise<void> | null = null;

  readonly #events = new LiveEvents({
    api: this.#api,
    onMoment: (moment) => this.#show(moment),
    onState: (connected) => sayState(connected ? 'Live' : 'Away: trying again', connected ? 'live' : 'away'),
  });
  readonly #mappingsTable = new MappingsTable({
    recent: this.#recent,
    open: (mapping) => void this.#details.open(mapping),
    remove: (mapping) => void this.#remove(mapping),
  });
  readonly #agentsTable = new AgentsTable();
  readonly #throughput = new Chart({ label: 'Throughput of the last hour', text: rateText });
  readonly #connections = new Chart({
    label: 'Open connections of the last hour',
    text: (value) => countText(Math.round(value * 10) / 10),
  });
  readonly #details = new DetailsDialog(this.#api);
  readonly #create = new CreateDialog({
    api: this.#api,
    rules: () => this.#rules,
    mappings: () => this.#mappings,
    agents: () => this.#moment?.agents ?? [],
    stats: () => this.#stats,
    created: () => void this.#read(),
  });
  readonly #tokens = new TokensCard({ api: this.#api, rules: () => this.#rules, changed: () => void this.enter() });

  start(): void {
    prepareDialogs();
    byId('throughput-chart', HTMLElement).append(this.#throughput.element);
    byId('connections-chart', HTMLElement).append(this.#connections.element);
    byId('new-mapping', HTMLElement).addEventListener('click', () => this.#create.open());
    byId('sign-out', HTMLElement).addEventListener('click', () => this.#leave(''));
    byId('sign-in-form', HTMLElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#signIn();
    });
    this.#api.onTokenNeeded = (problem) => this.#leave(this.#api.token === null ? '' : problem.message);
    void this.enter();
  }

  /** Reads everything, and listens from then on. */
  async enter(): Promise<void> {
    try {
      this.#rules ??= new Rules(await this.#api.call<OpenApiDocument>('GET', '/api/openapi.json'));
      this.#stats = await this.#api.call<Stats>('GET', '/api/v1/stats');
      this.#mayManage = this.#stats.role === 'manage';
      await this.#tokens.refresh(this.#mayManage);
    } catch (error) {
      if ((error as HubProblem).status === 401) return;
      sayState(saidOf(error), 'away');
      setTimeout(() => void this.enter(), AGAIN_MS);
      return;
    }
    this.#open(true);
    byId('new-mapping', HTMLElement).hidden = !this.#mayManage;
    byId('sign-out', HTMLElement).hidden = this.#api.token === null;
    await this.#read();
    this.#events.start();
  }

  async #signIn(): Promise<void> {
    const field = byId('token', HTMLInputElement);
    setText(byId('token-problem', HTMLElement), '');
    if (!TOKEN.test(field.value.trim())) return this.#refuseToken('expected a token: letters, digits and "-._~+/=" without spaces');
    this.#api.token = field.value.trim();
    field.value = '';
    await this.enter();
    if (!byId('content', HTMLElement).hidden) byId('content', HTMLElement).focus();
  }

  #refuseToken(problem: string): void {
    setText(byId('token-problem', HTMLElement), problem);
    byId('token', HTMLElement).focus();
  }

  /** To signing in. */
  #leave(problem: string): void {
    this.#events.stop();
    this.#api.token = null;
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
    this.#mappings = [];
    this.#tokens.clear();
    this.#open(false);
    byId('sign-out', HTMLElement).hidden = true;
    sayState('Signed out', '');
    this.#refuseToken(problem);
  }

  /** Shows the hub, or in its place where to sign in. */
  #open(isOpen: boolean): void {
    for (const part of ['content', 'skip']) byId(part, HTMLElement).hidden = !isOpen;
    byId('sign-in', HTMLElement).hidden = isOpen;
  }

  /** Reads the mappings and the last hour; what is asked for while it reads is read after that. */
  #read(): Promise<void> {
    const reading = (this.#reading ?? Promise.resolve()).then(() => this.#readOnce());
    this.#reading = reading;
    void reading.finally(() => {
      if (this.#reading === reading) this.#reading = null;
    });
    return reading;
  }

  async #readOnce(): Promise<void> {
    try {
      const { mappings } = await this.#api.call<{ mappings: Mapping[] }>('GET', '/api/v1/mappings');
      this.#mappings = mappings;
      this.#history = await this.#api.call<History>('GET', '/api/v1/history');
      this.#showHistory(this.#history);
      this.#mappingsTable.show(this.#mappings, this.#moment, this.#mayManage);
      await Promise.all([this.#details.refresh(), this.#tokens.refreshAudit()]);
    } catch {
      // The events say that the hub is away, and who has no token any more is asked for one.
    }
  }

  #show(moment: Moment): void {
    this.#moment = moment;
    this.#recent.add(moment);
    this.#mappingsTable.show(this.#mappings, moment, this.#mayManage);
    this.#agentsTable.show(moment, this.#history);
    showFigures(moment);
    const known = this.#mappings.map(keyOf).toSorted().join(' ') === moment.mappings.map(keyOf).toSorted().join(' ');
    // Who else has changed something is seen at once; counters and the last hour are as new as their samples.
    if (this.#reading === null && (this.#moments++ % MOMENTS_PER_SAMPLE === 0 || !known)) void this.#read();
  }

  #showHistory({ times, total }: History): void {
    const at = times.map(Date.parse);
    this.#throughput.draw(at, [
      { name: 'in', values: total.rate_in },
      { name: 'out', values: total.rate_out },
    ]);
    this.#connections.draw(at, [{ name: 'open', values: total.connections }]);
  }

  async #remove(mapping: Mapping): Promise<void> {
    const key = keyOf(mapping);
    const open = this.#moment?.mappings.find((one) => keyOf(one) === key)?.connections ?? mapping.connections;
    const cut = open === 0 ? 'Nobody is connected.' : `${countText(open)} open connection${open === 1 ? ' is' : 's are'} cut off.`;
    if (!(await confirmRemoval(`Remove ${key}?`, `It leads to ${mapping.target}. ${cut}`))) return;
    try {
      await this.#api.call('DELETE', `/api/v1/mappings/${key}`);
      announce(`${key} is gone`);
      await this.#read();
      byId('new-mapping', HTMLElement).focus();
    } catch (error) {
      announce(saidOf(error));
    }
  }
}

function showFigures({ mappings, agents }: Moment): void {
  const sum = (of: (one: Moment['mappings'][number]) => number) => mappings.reduce((total, one) => total + of(one), 0);
  const figures = {
    'rate-in': rateText(sum(({ rate_in }) => rate_in)),
    'rate-out': rateText(sum(({ rate_out }) => rate_out)),
    connections: countText(sum(({ connections }) => connections)),
    ready: `${countText(mappings.filter(({ ready }) => ready).length)} of ${countText(mappings.length)}`,
    'agent-count': countText(agents.length),
  };
  for (const [id, text] of Object.entries(figures)) setText(byId(id, HTMLElement), text);
}

function sayState(text: string, state: 'live' | 'away' | ''): void {
  const place = byId('state', HTMLElement);
  setText(place, text);
  place.className = `state ${state}`;
}

/** What may stand in an Authorization header (RFC 6750 §2.1). */
const TOKEN = /^[\w.~+/=-]{1,256}$/;
const AGAIN_MS = 3_000;
const MOMENTS_PER_SAMPLE = 10;

new Page().start();
