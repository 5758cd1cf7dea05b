import type { ManagerVersion } from '../../../src/config/types.js';
import { PythonScript } from '../../support/python.js';
import { describeRequiring, ORIGINAL_PYTHON, ORIGINAL_PYTHON_26 } from '../../support/requirements.js';
import type { SessionContext } from './sessions.contract.js';

const READERS = {
  '25.17': { python: ORIGINAL_PYTHON, script: 'events_reader_25.py' },
  '26.9': { python: ORIGINAL_PYTHON_26, script: 'events_reader_26.py' },
} as const;

/** Everything that a manager was told so far, read by the original's own decoders and handlers. */
export function describeOriginalReader(options: {
  readonly context: () => SessionContext;
  readonly line: ManagerVersion;
}): void {
  const { python, script } = READERS[options.line];
  describeRequiring(python, 'the original’s decoders', (interpreter) => {
    test('can read every event of these sessions', async () => {
      // Heartbeats go on meanwhile.
      const raw = [...options.context().manager.raw];
      const [first, ...others] = raw;
      const reader = new PythonScript(interpreter, script, first);
      for (const event of others) reader.write(event);
      const answers = (await reader.end()) as readonly { readonly name: string; readonly error?: string }[];
      expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
      expect(answers).toHaveLength(raw.length);
      const names = new Set(answers.map(({ name }) => name));
      for (const name of ['agent_heartbeat', 'kernel_started', 'kernel_terminated', 'session_success'])
        expect(names).toContain(name);
    }, 120_000);
  });
}
