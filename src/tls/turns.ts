/** Somebody who has something to do once per turn of the event loop. */
export interface TurnTaker {
  /** Whether it stands in the queue; kept here, so that standing in it twice costs one comparison. */
  isDue: boolean;
  handleTurn(): void;
}

/**
 * Calls `taker.handleTurn` once, when everything that has arrived by now has been taken in. TLS hands bytes over in records of 16 KiB; a
 * stream's reader is better off with the four or more that come in one turn, and streams get their turns one after another.
 */
export function takeTurn(taker: TurnTaker): void {
  if (taker.isDue) return;
  taker.isDue = true;
  if (due.push(taker) === 1) setImmediate(runTurn);
}

function runTurn(): void {
  const takers = due;
  due = [];
  for (const taker of takers) {
    taker.isDue = false;
    taker.handleTurn();
  }
}

let due: TurnTaker[] = [];
