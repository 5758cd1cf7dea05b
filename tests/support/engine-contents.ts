import type Docker from 'dockerode';

/** Everything that an engine holds, by name; engines list networks in no order. */
export interface EngineContents {
  readonly containers: readonly string[];
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
  /** Of an image without a tag its id. */
  readonly tags: readonly string[];
}

export const NOTHING_ADDED: EngineContents = { containers: [], networks: [], volumes: [], tags: [] };

export async function contentsOf(docker: Docker): Promise<EngineContents> {
  const [containers, networks, volumes, images] = await Promise.all([
    docker.listContainers({ all: true }),
    docker.listNetworks(),
    docker.listVolumes(),
    docker.listImages(),
  ]);
  return {
    // Names can be given again: two containers of one kernel would look like one.
    containers: containers.map(({ Id, Names }) => `${Names.join()} ${Id}`),
    networks: networks.map(({ Name }) => Name).sort(),
    volumes: volumes.Volumes.map(({ Name }) => Name),
    tags: images.flatMap(({ Id, RepoTags }) => {
      const tags = (RepoTags ?? []).filter((tag) => tag !== '<none>:<none>');
      return tags.length > 0 ? tags : [Id];
    }),
  };
}

/** What is there now and was not before, but for the tests' own tags. Pure. */
export function addedTo(
  before: EngineContents,
  now: EngineContents,
  testTags: ReadonlySet<string>,
): EngineContents {
  const added = (kind: keyof EngineContents) => now[kind].filter((name) => !before[kind].includes(name));
  return {
    containers: added('containers'),
    networks: added('networks'),
    volumes: added('volumes'),
    tags: added('tags').filter((tag) => !testTags.has(tag)),
  };
}
