/** What a client keeps of a link, to say something to the same server in its first flight (docs/PROTOCOL.md, "Early data"). */
export interface Ticket {
  /** quiche's session. Whoever has it can read what is sent early with it. */
  readonly session: Uint8Array;
  /** What the server showed (DER, its own first). */
  readonly chain: readonly Uint8Array[];
  /** Whether the server wants to be told each connection's endpoints. */
  readonly wantsEndpoints: boolean;
}

/** Where a client keeps its tickets, one for each place (worker). Nothing here throws: without a ticket there is no early data, and that is all. */
export interface TicketStore {
  /** The ticket, which is gone from the store when this resolves: each is used once. Null without one. */
  take(place: number): Promise<Ticket | null>;
  keep(place: number, ticket: Ticket): Promise<void>;
}
