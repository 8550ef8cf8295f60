import { Spark } from './chart.ts';
import { byId, make, Rows, setText, type Row } from './dom.ts';
import { countText, durationText, millisecondsText, percentText } from './format.ts';
import type { Agent, History, Moment } from './types.ts';

/** The agents that are connected, with how their paths are. */
export class AgentsTable {
  readonly #rows = new Rows<Shown>(byId('agents', HTMLTableElement).tBodies[0]!, agentRow);

  show({ agents, at }: Moment, history: History | null): void {
    const trips = new Map(history?.agents.map(({ name, rtt_ms }) => [name, rtt_ms]));
    const shown = agents.map((agent) => ({ agent, at: Date.parse(at), trips: trips.get(agent.name) ?? [] }));
    this.#rows.show(new Map(shown.map((one) => [one.agent.name, one])));
    byId('no-agents', HTMLElement).hidden = agents.length > 0;
    byId('agents', HTMLElement).hidden = agents.length === 0;
  }
}

interface Shown {
  readonly agent: Agent;
  readonly at: number;
  /** Round-trip times of the last hour. */
  readonly trips: readonly (number | null)[];
}

function agentRow(): Row<Shown> {
  const spark = new Spark(1);
  const [name, transport] = [make('td', { class: 'whole' }), cell('Transport')];
  const [trip, loss, open] = [cell('Round trip', 'number'), cell('Loss', 'number'), cell('Open', 'number')];
  const [since, allow] = [cell('Here for'), cell('May be reached', 'whole')];
  const [strong, peer] = [make('strong'), make('span', { class: 'note-text' })];
  name.append(strong, peer);
  const hour = make('td', { 'data-label': 'Round trip, last hour' }, spark.element);
  return {
    element: make('tr', {}, name, transport, trip, hour, loss, open, since, allow),
    update({ agent, at, trips }) {
      setText(strong, agent.name);
      setText(peer, agent.peer);
      setText(transport, agent.transport === 'quic' ? 'QUIC' : 'TLS');
      setText(trip, millisecondsText(agent.rtt_ms));
      setText(loss, percentText(agent.loss));
      setText(open, countText(agent.connections));
      setText(since, durationText(at - Date.parse(agent.since)));
      setText(allow, agent.allow.join(', '));
      spark.draw([trips], SAMPLES);
    },
  };
}

function cell(label: string, type = ''): HTMLTableCellElement {
  return make('td', { 'data-label': label, class: type });
}

/** In an hour of the history. */
const SAMPLES = 360;
