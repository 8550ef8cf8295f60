import { z } from 'zod';
import { suggestion } from '../../config/suggest.ts';
import { type FieldProblem, Refusal } from './refusal.ts';

/**
 * A part of a request as its schema has it.
 * @throws Refusal `INPUT_INVALID` that says each field that does not fit, and what is expected there.
 */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const checked = schema.safeParse(input);
  if (checked.success) return checked.data;
  const issues = checked.error.issues.slice(0, MOST_FIELDS);
  const fields = issues.flatMap((issue) => fieldsOf(issue, schema)).slice(0, MOST_FIELDS);
  const message = fields
    .map((problem) => (problem.field === '' ? problem.message : `${problem.field}: ${problem.message}`))
    .join('; ');
  throw new Refusal('INPUT_INVALID', message, { fields });
}

function fieldsOf(issue: z.core.$ZodIssue, schema: z.ZodType): FieldProblem[] {
  const field = issue.path.map(String).join('.');
  if (issue.code !== 'unrecognized_keys') return [{ field, message: issue.message }];
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  return issue.keys.slice(0, MOST_FIELDS).map((key) => ({
    field: [...issue.path.map(String), key.slice(0, LONGEST_KEY)].join('.'),
    message: `unknown field${suggestion(key.slice(0, LONGEST_KEY), known, '')}`,
  }));
}

const MOST_FIELDS = 20;
const LONGEST_KEY = 64;
