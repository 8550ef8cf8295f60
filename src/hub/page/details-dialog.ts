import { Chart } from './chart.ts';
import { byId, make, setText } from './dom.ts';
import { bytesText, countText, rateText } from './format.ts';
import { saidOf, type HubApi } from './hub-api.ts';
import { throughOf } from './mappings-table.ts';
import { keyOf } from './recent-rates.ts';
import type { ClientTraffic, Mapping, MappingHistory } from './types.ts';

/** One mapping: what it is, its last hour and its clients. */
export class DetailsDialog {
  readonly #api: HubApi;
  readonly #dialog = byId('details', HTMLDialogElement);
  readonly #problem = byId('details-problem', HTMLElement);
  readonly #clients = byId('details-clients', HTMLTableElement);
  readonly #chart = new Chart({ label: 'Throughput of the mapping in the last hour', text: rateText });
  /** Which mapping is shown. */
  #path = '';

  constructor(api: HubApi) {
    this.#api = api;
    byId('details-chart', HTMLElement).append(this.#chart.element);
  }

  async open(mapping: Mapping): Promise<void> {
    setText(byId('details-title', HTMLElement), keyOf(mapping));
    byId('details-facts', HTMLElement).replaceChildren(
      ...factsOf(mapping).flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
    );
    this.#chart.draw([], []);
    this.#clients.hidden = true;
    this.#path = `/api/v1/mappings/${keyOf(mapping)}`;
    this.#dialog.showModal();
    await this.refresh();
  }

  /** Reads the last hour again, while it is open. */
  async refresh(): Promise<void> {
    if (!this.#dialog.open) return;
    const path = this.#path;
    try {
      const [history, { clients }] = await Promise.all([
        this.#api.call<MappingHistory>('GET', `${path}/history`),
        this.#api.call<{ clients: ClientTraffic[] }>('GET', `${path}/clients?limit=50`),
      ]);
      if (path !== this.#path) return;
      setText(this.#problem, '');
      this.#chart.draw(history.times.map(Date.parse), [
        { name: 'in', values: history.rate_in },
        { name: 'out', values: history.rate_out },
      ]);
      this.#clients.hidden = clients.length === 0;
      this.#clients.tBodies[0]!.replaceChildren(...clients.map(clientRow));
    } catch (error) {
      setText(this.#problem, saidOf(error));
    }
  }
}

function clientRow({ client, traffic }: ClientTraffic): HTMLTableRowElement {
  return make(
    'tr',
    {},
    cell('Client', client ?? 'all others', ''),
    cell('Connections', countText(traffic.connections)),
    cell('In', bytesText(traffic.bytes_in)),
    cell('Out', bytesText(traffic.bytes_out)),
  );
}

function cell(label: string, text: string, type = 'number'): HTMLTableCellElement {
  return make('td', { class: type, 'data-label': label }, text);
}

function factsOf(mapping: Mapping): readonly (readonly [string, string])[] {
  const { traffic, bandwidth, allow_ips: networks, last_error: error, created_at: created } = mapping;
  const facts: readonly (readonly [string, string])[] = [
    ['Leads to', `${mapping.target} ${throughOf(mapping)}`],
    ['Note', mapping.note],
    ['Made', created === null ? 'by the agent (-R)' : new Date(created).toLocaleString()],
    ['Clients', networks.length === 0 ? 'everybody' : networks.join(', ')],
    ['Limit', bandwidth === null ? 'none' : `${rateText(bandwidth / 8)} in each direction`],
    [
      'Carried',
      `${countText(traffic.connections)} connections, ${bytesText(traffic.bytes_in)} in, ${bytesText(traffic.bytes_out)} out`,
    ],
    ['Refused', countText(mapping.refused)],
    ['Last error', error === null ? '' : `${error.message} (${new Date(error.at).toLocaleString()})`],
  ];
  return facts.filter(([, value]) => value !== '');
}
