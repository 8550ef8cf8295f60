import { QtunnelError } from '../errors.ts';
import { ENVIRONMENT_PREFIX, environmentName, FLAGS, type FlagName } from './flags.ts';
import { type Layer, type LayerValue, readValue } from './layer.ts';
import { nearest } from './suggest.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The values of `QTUNNEL_…` variables. An empty variable counts as not set, as compose files and unit files leave them, except for a
 * secret: running without one must not be the result of a variable that somebody forgot to fill.
 * @throws QtunnelError `USAGE`
 */
export function environmentLayer(environment: Environment, shared: boolean): Layer {
  const values = new Map<FlagName, LayerValue>();
  for (const flag of FLAGS) {
    const variable = environmentName(flag.name);
    const text = environment[variable];
    if (text === undefined || 'commandLineOnly' in flag) continue;
    if (text === '' && 'secret' in flag) {
      throw new QtunnelError('USAGE', `${variable} is empty: give it the secret, or unset it to run without one`);
    }
    if (text !== '') values.set(flag.name, readValue(flag, text, variable, 'USAGE'));
  }
  return { shared, values };
}

/** A warning for each variable that looks like a misspelt one. Others are let be: Kubernetes makes `QTUNNEL_PORT` and the like. */
export function misspelt(environment: Environment): string[] {
  const known = FLAGS.map(({ name }) => environmentName(name));
  return Object.keys(environment)
    .filter((variable) => variable.startsWith(ENVIRONMENT_PREFIX) && !known.includes(variable))
    .flatMap((variable) => {
      const meant = nearest(variable.slice(ENVIRONMENT_PREFIX.length), known.map(withoutPrefix));
      return meant === undefined ? [] : [`${variable} is ignored; did you mean ${ENVIRONMENT_PREFIX}${meant}?`];
    });
}

function withoutPrefix(variable: string): string {
  return variable.slice(ENVIRONMENT_PREFIX.length);
}
