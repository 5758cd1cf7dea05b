import { z } from 'zod';

/** What the engine says, as far as it is used here. Podman leaves out some of it. */

const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

const mounts = z
  .array(
    z.object({
      Type: z.string().optional(),
      Source: z.string().optional(),
      Destination: z.string(),
      RW: z.boolean().default(true),
    }),
  )
  .nullish()
  .transform((value) => value ?? []);

const bindings = z
  .record(z.string(), z.array(z.object({ HostIp: z.string().optional(), HostPort: z.string() })).nullable())
  .nullish()
  .transform((value) => value ?? {});

/** The addresses that a container has on its networks; it has them while it runs. */
const networkSettings = z
  .object({
    Networks: z
      .record(
        z.string(),
        z
          .object({
            IPAddress: z.string().nullish(),
            GlobalIPv6Address: z.string().nullish(),
            NetworkID: z.string().nullish(),
          })
          .nullable(),
      )
      .nullish(),
    Ports: bindings,
  })
  .nullish()
  .transform((settings) => ({
    /** Names and ids of the networks that it is attached to. */
    networks: Object.entries(settings?.Networks ?? {}).flatMap(([name, network]) =>
      network?.NetworkID ? [name, network.NetworkID] : [name],
    ),
    /** `2000/tcp` -> host ports, while it runs. */
    ports: Object.fromEntries(
      Object.entries(settings?.Ports ?? {}).map(([port, published]) => [
        port,
        (published ?? []).map(({ HostPort }) => Number(HostPort)),
      ]),
    ),
    addresses: Object.values(settings?.Networks ?? {}).flatMap((network) =>
      [network?.IPAddress, network?.GlobalIPv6Address].flatMap((address) => (address ? [address] : [])),
    ),
  }));

export const containerSchema = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number().default(0),
    OOMKilled: z.boolean().default(false),
    Error: z.string().default(''),
    StartedAt: z.string().default(''),
    FinishedAt: z.string().default(''),
    /** Of the first process on the engine's machine; 0 while none runs. */
    Pid: z.number().default(0),
  }),
  Created: z.string().default(''),
  Config: z.object({
    Labels: labels,
    User: z.string().default(''),
    Image: z.string().default(''),
    Hostname: z.string().default(''),
    Env: z
      .array(z.string())
      .nullish()
      .transform((value) => value ?? []),
  }),
  HostConfig: z.object({
    PortBindings: bindings,
    NetworkMode: z.string().default(''),
    ShmSize: z.number().default(0),
  }),
  Mounts: mounts,
  NetworkSettings: networkSettings,
});
/** One container, as an inspection shows it. */
export type Container = z.infer<typeof containerSchema>;

export const listedContainersSchema = z.array(
  z.object({
    Id: z.string(),
    State: z.string(),
    Mounts: mounts,
    Labels: labels,
    NetworkSettings: networkSettings,
  }),
);
export type ListedContainer = z.infer<typeof listedContainersSchema>[number];

export const createdSchema = z.object({ Id: z.string() });
export const imageSchema = z.object({ Id: z.string() });
export const listedImagesSchema = z.array(
  z.object({
    Id: z.string(),
    RepoTags: z
      .array(z.string())
      .nullish()
      .transform((value) => value ?? []),
  }),
);
export type ListedImage = z.infer<typeof listedImagesSchema>[number];
/** An image without labels differs from one with none of them. */
export const imageDetailsSchema = z.object({
  Architecture: z.string().default(''),
  Config: z
    .object({ Labels: z.record(z.string(), z.string()).nullish(), Cmd: z.array(z.string()).nullish() })
    .nullish(),
});
export type ImageDetails = z.infer<typeof imageDetailsSchema>;
export const networksSchema = z.array(z.object({ Name: z.string(), Id: z.string() }));
export const networkSchema = z.object({
  IPAM: z.object({ Config: z.array(z.object({ Subnet: z.string().optional() })).nullish() }).nullish(),
});
export const versionSchema = z.object({
  Version: z.string().default('unknown'),
  ApiVersion: z.string().default('unknown'),
});

export const eventSchema = z.object({
  /** Seconds since the epoch, by the engine's clock. */
  time: z.number(),
  timeNano: z.number().optional(),
  Action: z.string(),
  Actor: z.object({
    ID: z.string(),
    /** The labels among others; of an end the status. */
    Attributes: labels.catch({}),
  }),
});
export type EngineEvent = z.infer<typeof eventSchema>;

/** One record of a pull's or push's progress; what is not as expected counts as not said. */
export const transferSchema = z
  .object({
    /** Of a layer, shortened. */
    id: z.string().optional().catch(undefined),
    status: z.string().optional().catch(undefined),
    progressDetail: z
      .object({ current: z.number().optional(), total: z.number().optional() })
      .optional()
      .catch(undefined),
    error: z.string().optional().catch(undefined),
    errorDetail: z.object({ message: z.string().optional() }).optional().catch(undefined),
  })
  .catch({});
export type TransferRecord = z.infer<typeof transferSchema>;
