import { endianness } from 'node:os';
import { intPart, parseQuestion, readInt, valueAnswer } from '../../../src/agent-socket/protocol.js';

const ID = 'ab'.repeat(32);
const text = (value: string) => Buffer.from(value);

describe('questions to the agent socket', () => {
  test('pids are 32-bit integers in the byte order of the machine', () => {
    const bytes = endianness() === 'LE' ? [1, 2, 0, 0] : [0, 0, 2, 1];
    expect([...intPart(513)]).toEqual(bytes);
    expect([-2, -1, 0, 4_194_304].map((value) => readInt(intPart(value)))).toEqual([-2, -1, 0, 4_194_304]);
    expect(valueAnswer(7).map(readInt)).toEqual([0, 7]);
  });

  test('a question is read from its parts', () => {
    expect(parseQuestion([text('host-pid-to-container-pid'), text(ID), intPart(42)])).toEqual({
      question: { action: 'host-pid-to-container-pid', containerId: ID, pid: 42 },
    });
    expect(parseQuestion([text('is-jail-enabled')])).toEqual({ question: { action: 'is-jail-enabled' } });
  });

  test.each<[string, readonly Uint8Array[]]>([
    ['no container id', [text('container-pid-to-host-pid'), text('../../etc'), intPart(1)]],
    ['a pid of another length', [text('container-pid-to-host-pid'), text(ID), text('12')]],
    ['too few parts', [text('host-pid-to-container-pid'), text(ID)]],
    ['too many parts', [text('is-jail-enabled'), text('x')]],
  ])('%s is an error with a text', (_, parts) => {
    const parsed = parseQuestion(parts);
    const refusal = 'refusal' in parsed ? parsed.refusal : [];
    expect(refusal.slice(0, 1).map(readInt)).toEqual([-1]);
    expect(Buffer.from(refusal[1] ?? []).toString()).not.toBe('');
  });

  test.each([[[]], [[text('reboot')]]])('an action that there is not is answered as such', (parts) => {
    const parsed = parseQuestion(parts);
    expect('refusal' in parsed ? parsed.refusal.slice(0, 1).map(readInt) : []).toEqual([-2]);
  });
});
