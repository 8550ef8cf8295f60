/** A part of qtunnel, measured by itself. */
export interface Case {
  readonly name: string;
  /** What one run works on; 0 where bytes are not the point. */
  readonly bytes: number;
  /** How many operations one run is: those shorter than the clock's grain are done many times. */
  readonly operations: number;
  readonly run: () => void | Promise<void>;
  /** Gives back what the case holds. */
  readonly close?: () => void | Promise<void>;
}

/** Cases that are only there where the machine has what they need make an empty list elsewhere. */
export type MakeCases = () => Case[] | Promise<Case[]>;
