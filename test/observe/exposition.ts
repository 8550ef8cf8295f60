/** One line of Prometheus' text format, taken apart. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Parses Prometheus' text format 0.0.4 strictly and throws on what a scraper would refuse: a line that is none, a sample without HELP
 * and TYPE before it, a family in two places, a series twice, a counter that is negative or not named `_total`.
 */
export function parseExposition(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('The last line does not end');
  const families = new Map<string, { type?: string }>();
  const seen = new Set<string>();
  const samples: Sample[] = [];
  let current = '';

  for (const line of text.split('\n').filter((entry) => entry !== '')) {
    const help = /^# HELP ([a-zA-Z_:][\w:]*) \S.*$/.exec(line);
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped)$/.exec(line);
    if (help) {
      current = begin(help[1]!, families);
    } else if (type) {
      if (type[1] !== current) throw new Error(`TYPE without HELP: ${line}`);
      families.get(current)!.type = type[2]!;
    } else {
      samples.push(sampleOf(line, current, families.get(current)?.type, seen));
    }
  }
  return samples;
}

/** The value of the only sample with this name and these labels; undefined when there is none. */
export function valueOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = samples.filter(
    (sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  if (found.length > 1) throw new Error(`${name} has ${found.length} samples with ${JSON.stringify(labels)}`);
  return found[0]?.value;
}

function begin(name: string, families: Map<string, object>): string {
  if (families.has(name)) throw new Error(`${name} is described twice`);
  families.set(name, {});
  return name;
}

function sampleOf(line: string, family: string, type: string | undefined, seen: Set<string>): Sample {
  const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (!parts) throw new Error(`Not a sample: ${line}`);
  const [, name = '', labelText = '', number = ''] = parts;
  const suffixes = type === 'histogram' || type === 'summary' ? ['', '_bucket', '_sum', '_count'] : [''];
  if (!type || !suffixes.some((suffix) => name === family + suffix))
    throw new Error(`A sample outside its family ${family}: ${line}`);
  const series = `${name}{${labelText}}`;
  if (seen.has(series)) throw new Error(`Twice: ${series}`);
  seen.add(series);

  const value = valueFrom(number, line);
  if (type === 'counter' && !(value >= 0)) throw new Error(`A negative counter: ${line}`);
  if (type === 'counter' && !name.endsWith('_total')) throw new Error(`A counter not named _total: ${line}`);
  return { name, labels: labelsOf(labelText, line), value };
}

function labelsOf(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const label = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,(?=.)|$)/.exec(rest);
    if (!label) throw new Error(`Bad labels: ${line}`);
    labels[label[1]!] = label[2]!.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(label[0].length);
  }
  return labels;
}

function valueFrom(text: string, line: string): number {
  if (text === 'Nan' || text === 'NaN') return Number.NaN;
  if (text === '+Inf') return Infinity;
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) throw new Error(`Not a number: ${line}`);
  return Number(text);
}
