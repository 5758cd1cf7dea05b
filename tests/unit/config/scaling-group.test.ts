import { chmod, lstat, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { updateScalingGroup } from '../../../src/config/index.js';
import { withScalingGroup } from '../../../src/config/scaling-group.js';
import { loadIn, withDirectory } from './config-file.js';

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
  test.each([
    [
      'the name of 26.8',
      '[agent]\ninitial-resource-group-name = "a"\n',
      '[agent]\ninitial-resource-group-name = "g"\n',
    ],
    ['snake case', '[agent]\nscaling_group = "a"\n', '[agent]\nscaling_group = "g"\n'],
    [
      'the spelling that wins when both stand',
      '[agent]\ninitial-resource-group-name = "a"\nscaling-group = "b"\n',
      '[agent]\ninitial-resource-group-name = "a"\nscaling-group = "g"\n',
    ],
    ['a dotted key', 'agent.id = "i" # x\n', 'agent.id = "i" # x\nagent.scaling-group = "g"\n'],
    ['an inline table', 'agent = { id = "i" } # x\n', 'agent = { id = "i", scaling-group = "g" } # x\n'],
    [
      'an inline list of agents',
      'agents = [{ agent = { id = "j" } }, { agent = { id = "i" } }]\n',
      'agents = [{ agent = { id = "j" } }, { agent = { id = "i", scaling-group = "g" } }]\n',
    ],
    ['an empty table', '[agent] # x\n[container]\n', '[agent] # x\nscaling-group = "g"\n[container]\n'],
    [
      'lines that end as on Windows',
      '[agent]\r\nid = "i"\r\n',
      '[agent]\r\nid = "i"\r\nscaling-group = "g"\r\n',
    ],
    ['a file without a last newline', '[agent]\nid = "i"', '[agent]\nid = "i"\nscaling-group = "g"'],
    [
      'a nested table after it',
      '[agent]\nid = "i"\n[agent.x]\ny = 1\n',
      '[agent]\nid = "i"\nscaling-group = "g"\n[agent.x]\ny = 1\n',
    ],
  ])('%s', (_name, before, after) => {
    expect(withScalingGroup(before, 'i', 'g')).toBe(after);
  });
});

describe('the file', () => {
  const TEXT = '[agent]\nbackend = "dummy" # x\nrpc-listen-addr = "127.0.0.1:6001"\n';

  test('loads with the new group; the old text, the mode and nothing else lie beside it', async () => {
    await withDirectory(async (directory) => {
      const { config } = await loadIn(directory, TEXT);
      const file = config.file ?? '';
      await chmod(file, 0o640);
      await updateScalingGroup(file, 'i-any', 'gpu');
      const text = await readFile(file, 'utf8');
      expect((await loadIn(directory, text)).config.agents[0]?.scalingGroup).toBe('gpu');
      expect(text).toContain('# x\n');
      expect((await stat(file)).mode & 0o777).toBe(0o640);
      expect(await readFile(`${file}.bak`, 'utf8')).toBe(TEXT);
      expect((await readdir(directory)).sort()).toEqual(['agent.toml', 'agent.toml.bak']);
    });
  });

  test('a symbolic link stays one; what it names changes', async () => {
    await withDirectory(async (directory) => {
      const [real, link] = [join(directory, 'real.toml'), join(directory, 'link.toml')];
      await writeFile(real, TEXT);
      await symlink('real.toml', link);
      await updateScalingGroup(link, 'i-any', 'gpu');
      expect((await lstat(link)).isSymbolicLink()).toBe(true);
      expect(await readFile(real, 'utf8')).toContain('scaling-group = "gpu"');
    });
  });

  test('takes the changes of several agents at once', async () => {
    await withDirectory(async (directory) => {
      const file = join(directory, 'agent.toml');
      const ids = ['i-one', 'i-two', 'i-three', 'i-four'];
      await writeFile(file, TEXT + ids.map((id) => `[[agents]]\n[agents.agent]\nid = "${id}"\n`).join(''));
      await Promise.all(ids.map((id) => updateScalingGroup(file, id, `group-of-${id}`)));
      const { config } = await loadIn(directory, await readFile(file, 'utf8'));
      expect(config.agents.map(({ scalingGroup }) => scalingGroup)).toEqual(
        ids.map((id) => `group-of-${id}`),
      );
      expect((await readdir(directory)).sort()).toEqual(['agent.toml', 'agent.toml.bak']);
    });
  });

  test('that does not parse stays as it is', async () => {
    await withDirectory(async (directory) => {
      const file = join(directory, 'agent.toml');
      await writeFile(file, '[agent');
      await expect(updateScalingGroup(file, 'i', 'g')).rejects.toThrow();
      expect(await readFile(file, 'utf8')).toBe('[agent');
      expect(await readdir(directory)).toEqual(['agent.toml']);
    });
  });
});
