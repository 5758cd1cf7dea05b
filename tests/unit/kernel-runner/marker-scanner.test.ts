import { MarkerScanner } from '../../../src/kernel-runner/marker-scanner.js';

const SECRET = 'ab12';
const marker = (number: number) => `\x1e${SECRET}${String(number).padStart(8, '0')}\x1e`;

function scan(chunks: readonly string[]) {
  const scanner = new MarkerScanner(SECRET);
  let output = '';
  const markers: number[] = [];
  for (const chunk of chunks) {
    const found = scanner.push(Buffer.from(chunk, 'latin1'));
    output += found.output.map((part) => Buffer.from(part).toString('latin1')).join('');
    markers.push(...found.markers);
  }
  return { output, markers, rest: Buffer.from(scanner.rest()).toString('latin1') };
}

test('markers are taken out wherever the text is cut', () => {
  const text = `one${marker(1)}two\x1e${marker(2)}${marker(3)}three`;
  for (let at = 0; at <= text.length; at += 1)
    expect(scan([text.slice(0, at), text.slice(at)])).toEqual({
      output: 'onetwo\x1ethree',
      markers: [1, 2, 3],
      rest: '',
    });
  expect(scan(Array.from(text))).toEqual({ output: 'onetwo\x1ethree', markers: [1, 2, 3], rest: '' });
});

test('what only looks like a marker is output', () => {
  for (const text of [
    '\x1e\x1e\x1e',
    `\x1exx1200000001\x1e`,
    `\x1e${SECRET}0000000x\x1e`,
    `\x1e${SECRET}00000001 `,
  ])
    expect(scan([text, 'end'])).toEqual({ output: `${text}end`, markers: [], rest: '' });
});

test('a beginning that never becomes a marker is handed out at the end', () => {
  expect(scan([`x\x1e${SECRET}00`])).toEqual({ output: 'x', markers: [], rest: `\x1e${SECRET}00` });
});
