import path from 'node:path';
import { QtunnelError } from '../errors.ts';
import { MARK, type Program } from './manager.ts';
import type { Plan } from './plan.ts';
import { type Element, xmlOf } from './xml.ts';

/** LOCAL SERVICE, by the number that it has in every language: it has few rights, and is nobody on the network. */
export const USER = 'S-1-5-19';

/**
 * A task of the Task Scheduler that starts with the machine ([MS-TSCH] 2.5, "Task Scheduler Schema"). Without a declared encoding: the file may be UTF-16, which `schtasks` likes best, or anything
 * else that has ASCII.
 * @throws QtunnelError `USAGE` for words that the Task Scheduler would replace.
 */
export function taskXml(plan: Plan, { node, script }: Program): string {
  refuseVariables([node, script, ...plan.words]);
  const task: Element = [
    `Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"`,
    [
      [
        'RegistrationInfo',
        [
          ['Author', 'qtunnel'],
          ['Description', MARK],
        ],
      ],
      ['Triggers', [['BootTrigger', [['Enabled', 'true']]]]],
      [
        'Principals',
        [
          [
            'Principal id="Author"',
            [
              ['UserId', USER],
              ['RunLevel', 'LeastPrivilege'],
            ],
          ],
        ],
      ],
      ['Settings', SETTINGS],
      [
        'Actions Context="Author"',
        [
          [
            'Exec',
            [
              ['Command', node],
              ['Arguments', [script, ...plan.words].map(quoted).join(' ')],
              ['WorkingDirectory', path.win32.isAbsolute(plan.state) ? plan.state : path.win32.dirname(node)],
            ],
          ],
        ],
      ],
    ],
  ];
  return `<?xml version="1.0"?>\n${xmlOf(task).join('\n')}\n`;
}

/** One word of a command line, by the rules of CommandLineToArgvW: backslashes mean something only before a quotation mark. */
export function quoted(word: string): string {
  if (word !== '' && !/[\s"]/.test(word)) return word;
  return `"${word.replaceAll(/(\\*)("|$)/g, (_all, slashes: string, quote: string) => slashes + slashes + (quote === '' ? '' : `\\"`))}"`;
}

/** There is no way to write them so that they mean themselves. */
function refuseVariables(words: readonly string[]): void {
  const word = words.find((one) => /%.*%|\$\(/s.test(one));
  if (word === undefined) return;
  throw new QtunnelError(
    'USAGE',
    `${word} cannot stand in a task: the Task Scheduler puts variables in the place of %…% and $(…); choose another name, or write it into a file for -conf`,
  );
}

const SETTINGS: readonly Element[] = [
  ['MultipleInstancesPolicy', 'IgnoreNew'],
  ['DisallowStartIfOnBatteries', 'false'],
  ['StopIfGoingOnBatteries', 'false'],
  ['AllowHardTerminate', 'true'],
  ['AllowStartOnDemand', 'true'],
  ['Enabled', 'true'],
  ['Hidden', 'true'],
  // None.
  ['ExecutionTimeLimit', 'PT0S'],
  // Normal; a task has less otherwise.
  ['Priority', '5'],
  // As soon and as often as there may be.
  [
    'RestartOnFailure',
    [
      ['Interval', 'PT1M'],
      ['Count', '255'],
    ],
  ],
];
