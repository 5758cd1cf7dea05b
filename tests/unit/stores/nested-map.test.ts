import { quoteComponent, unquoteComponent } from '../../../src/stores/nested-map.js';

test.each([
  ['a/b:c d', 'a%2Fb%3Ac%20d'],
  ['A-z_0.9~', 'A-z_0.9~'],
  ['ü', '%C3%BC'],
])('quotes %s', (text, quoted) => {
  expect(quoteComponent(text)).toBe(quoted);
  expect(unquoteComponent(quoted)).toBe(text);
});

test('a stray percent sign stands for itself', () => {
  expect(unquoteComponent('100%')).toBe('100%');
  expect(unquoteComponent('%zz%41')).toBe('%zzA');
});
