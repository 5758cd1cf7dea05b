import { prunableVolumes } from '../../../../src/backends/docker/runner-volume-pruning.js';

test('versions that nobody mounts go, with damaged ones and old drafts; everything else stays', () => {
  const entry = (name: string, ageMs = 0) => ({ name, ageMs });
  const entries = [
    entry('runner-current'),
    entry('runner-mounted'),
    entry('runner-old'),
    entry('.damaged-mounted'),
    entry('.damaged-old'),
    entry('.new-fresh'),
    entry('.new-old', 3_600_001),
    entry('notes', 1e12),
  ];
  const used = new Set(['/v/runner-current', '/v/runner-mounted', '/v/.damaged-mounted', '/w/runner-old']);
  expect(prunableVolumes('/v', entries, used)).toEqual(['runner-old', '.damaged-old', '.new-old']);
});
