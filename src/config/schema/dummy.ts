import { integerFrom, listOf, parseBoolean, parseNonEmptyText } from '../formats.js';
import { expecting, optional } from '../parser.js';
import { parseSizeBytes } from '../size.js';
import { key, table } from './definition.js';

/** Seconds; two of them are the ends of a range that one value is drawn from. */
export type WrittenDelay = number | readonly [low: number, high: number];

/** How often a step fails: by chance, or in these of its calls, counted from 1. */
export type WrittenFailure = number | readonly number[];

const isDelay = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

const parseDelay = expecting(
  'a number of seconds, or two of them to draw one value between',
  (value: unknown): WrittenDelay => {
    if (value === null) return 0;
    if (isDelay(value)) return value;
    const [low, high, ...more] = Array.isArray(value) ? (value as readonly unknown[]) : [];
    if (isDelay(low) && isDelay(high) && low <= high && more.length === 0) return [low, high];
    throw new Error('expected a number of seconds, or two of them to draw one value between');
  },
);

const parseFailure = expecting(
  'a probability from 0 to 1, or a list of the calls that fail, counted from 1',
  (value: unknown): WrittenFailure => {
    if (isDelay(value) && value <= 1) return value;
    if (Array.isArray(value) && value.every((call) => Number.isSafeInteger(call) && Number(call) >= 1))
      return value.map(Number);
    throw new Error('expected a probability from 0 to 1, or a list of the calls that fail, counted from 1');
  },
);

const delay = (doc: string, fallback: number) => key(doc, parseDelay, fallback, { unit: 's' });
const failure = (doc: string) => key(doc, parseFailure, 0);
const names = optional(listOf(parseNonEmptyText));

/**
 * Every key of `agent.dummy.toml` (spec/kernel-lifecycle.md 8, config-and-resources.md 1.7.16), and those of
 * `splenium`, which the original does not have.
 */
export const DUMMY_SCHEMA = table('The dummy backend.', {
  agent: table('The backend as a whole.', {
    delay: table('How long it takes.', {
      'scan-image': delay('Listing images', 0.1),
      'pull-image': delay('Pulling an image', 1),
      'push-image': delay('Pushing an image', 1),
      'purge-images': delay('Removing an image', 1),
      'destroy-kernel': delay('Stopping a kernel that is asked to; one with less grace time is killed', 1),
      'clean-kernel': delay('Removing a stopped kernel', 1),
      'create-network': delay('Making a network', 1),
      'destroy-network': delay('Removing a network', 1),
    }),
    image: table('What images there are; others are there, too.', {
      'already-have': key('Images that are there', names, null),
      'need-to-pull': key('Images that are there once they are pulled', names, null),
      missing: key('Images that are not there and whose pull fails', names, null),
    }),
    resource: table('What the node has to give.', {
      cpu: table('Cores.', { 'num-core': key('Number', integerFrom(1), 4) }),
      memory: table('Main memory.', {
        size: key('Size', parseSizeBytes, 34_359_738_368, { unit: 'bytes' }),
      }),
    }),
  }),
  'kernel-creation-ctx': table('Making a kernel.', {
    delay: table('How long it takes.', {
      'prepare-scratch': delay('Before the container is made', 1),
      'prepare-ssh': delay('Before the container is made', 1),
      'mount-krunner': delay('Before the container is made', 1),
      spawn: delay('Making the container', 0.5),
      'start-container': delay('Starting the container', 2),
    }),
  }),
  kernel: table('A kernel that runs.', {
    'use-fake-code-runner': key(
      'A runner inside the daemon answers; false: one is expected at 127.0.0.1:2000 and 2001',
      parseBoolean,
      true,
    ),
    delay: table('How long it takes.', {
      commit: delay('Making an image of a kernel', 5),
      'check-status': delay('Telling its status', 0.1),
      'get-completions': delay('Completing code', 0.1),
      'get-logs': delay('Handing out its log', 0.1),
      'interrupt-kernel': delay('Interrupting it', 0.1),
      'start-service': delay('Starting a service', 0.1),
      'start-model-service': delay('Starting a model service', 0.1),
      'shutdown-service': delay('Stopping a service', 0.1),
      'get-service-apps': delay('Listing its services', 0.1),
      'accept-file': delay('Taking a file', 0.1),
      'download-file': delay('Handing out an archive', 0.1),
      'download-single': delay('Handing out a file', 0.1),
      'list-files': delay('Listing files', 0.1),
    }),
  }),
  splenium: table('What the original has no key for.', {
    delay: table('How long it takes.', {
      execute: delay('Running code; its output comes at once, and an interrupt ends it', 0),
    }),
    failure: table('Which steps fail.', {
      create: failure('Making a container'),
      start: failure('Starting a container'),
      runner: failure('The runner of a started container, which then never answers'),
      execute: failure('A run of code, which then ends with exit status 1'),
      stop: failure('Stopping a container'),
      remove: failure('Removing a container'),
      pull: failure('Pulling an image'),
      push: failure('Pushing an image'),
      commit: failure('Making an image of a kernel'),
    }),
  }),
});
