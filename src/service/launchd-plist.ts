import { descriptors, END_SECONDS, MARK, type Program } from './manager.ts';
import type { Plan } from './plan.ts';
import { type Element, xmlOf } from './xml.ts';

/** Whom services run as: on macOS, names of such users begin with an underscore. */
export const USER = '_qtunnel';

/** The property list of a daemon (launchd.plist(5)), which keeps to what the systemd unit does where launchd has something for it. */
export function launchdPlist(plan: Plan, { node, script }: Program, log: string): string {
  const files = { NumberOfFiles: descriptors(plan) };
  const daemon = {
    Label: plan.unit,
    ProgramArguments: [node, script, ...plan.words],
    EnvironmentVariables: { STATE_DIRECTORY: plan.state },
    UserName: USER,
    Umask: 0o077,
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: SECONDS_BETWEEN_STARTS,
    ExitTimeOut: Math.ceil(plan.drainTimeout / 1000) + END_SECONDS,
    // The hard limit that a daemon has by default may be less.
    SoftResourceLimits: files,
    HardResourceLimits: files,
    // Any other is slowed down while somebody works at the machine.
    ProcessType: 'Interactive',
    StandardErrorPath: log,
  };
  return `${HEAD}\n${xmlOf(['plist version="1.0"', [elementOf(daemon)]]).join('\n')}\n`;
}

type Value = string | number | boolean | readonly string[] | { readonly [key: string]: Value };

function elementOf(value: Value): Element {
  if (typeof value === 'string') return ['string', value];
  if (typeof value === 'number') return ['integer', String(value)];
  if (typeof value === 'boolean') return [String(value), []];
  if (isArray(value)) return ['array', value.map(elementOf)];
  return ['dict', Object.entries(value).flatMap(([key, member]): Element[] => [['key', key], elementOf(member)])];
}

function isArray(value: Value): value is readonly string[] {
  return Array.isArray(value);
}

const SECONDS_BETWEEN_STARTS = 10;
const HEAD = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- ${MARK} -->`;
