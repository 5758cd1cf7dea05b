import { withScalingGroup } from '../../../src/config/scaling-group.js';

const SINGLE = `# my node
[agent]
backend = "process"   # no docker here
scaling-group = "default" # where it belongs

[container]
`;
const SEVERAL = `[agent]
scaling-group = "default"
[[agents]]
  [agents.agent]
  id = "i-one"
  scaling-group = "default"
[[agents]]
  [agents.agent]
  id = "i-two" # the second
  # a last remark
`;

describe('writing a scaling group back', () => {
  test('one agent: the global key changes and every comment stays', () => {
    expect(withScalingGroup(SINGLE, 'i-any', 'gpu')).toBe(SINGLE.replace('"default"', '"gpu"'));
  });
  test('several agents: only the entry with that id changes', () => {
    expect(withScalingGroup(SEVERAL, 'i-one', 'gpu')).toBe(
      SEVERAL.replace('  scaling-group = "default"', '  scaling-group = "gpu"'),
    );
  });
  test('an entry without the key gets it after its last key', () => {
    expect(withScalingGroup(SEVERAL, 'i-two', 'gpu')).toBe(
      SEVERAL.replace('# the second\n', '# the second\n  scaling-group = "gpu"\n'),
    );
  });
  test('an unknown agent changes nothing', () => {
    expect(withScalingGroup(SEVERAL, 'i-three', 'gpu')).toBe(SEVERAL);
  });
  test('quotes in a name are escaped', () => {
    expect(withScalingGroup(SINGLE, '', 'a"b')).toContain('scaling-group = "a\\"b" #');
  });
});
