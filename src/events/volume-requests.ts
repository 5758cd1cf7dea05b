import { z } from 'zod';
import type { Codec } from '../codec/index.js';

/** What somebody asks every node for (spec/events-and-stores.md 3.8). */
export type VolumeRequest =
  | {
      readonly name: 'do_volume_mount';
      readonly directory: string;
      readonly quotaScopeId: string;
      /** What `mount` is given as its source, such as `server:/export`. */
      readonly location: string;
      readonly fsType: string;
      /** For `mount -o`; null: none. */
      readonly options: string | null;
      readonly fstab: FstabWish;
    }
  | {
      readonly name: 'do_volume_unmount';
      readonly directory: string;
      readonly quotaScopeId: string;
      readonly fstab: FstabWish;
    };

/** The file to keep the mount in; null: in none. */
export type FstabWish = { readonly path: string } | null;

const DEFAULT_FSTAB = '/etc/fstab';

const text = z.string();
const optionalText = z.string().nullish();

const envelope = z.object({ name: text, args: optionalText, payload: optionalText });

const mountFields = z.object({
  dir_name: text,
  quota_scope_id: text,
  fs_location: text,
  fs_type: text.default('nfs'),
  cmd_options: optionalText,
  edit_fstab: z.boolean().default(false),
  fstab_path: optionalText,
});
const unmountFields = mountFields.pick({
  dir_name: true,
  quota_scope_id: true,
  edit_fstab: true,
  fstab_path: true,
});

/** Places of the fields in the tuples of 25.17. */
const ARGS = {
  do_volume_mount: {
    dir_name: 0,
    quota_scope_id: 2,
    fs_location: 3,
    fs_type: 4,
    cmd_options: 5,
    edit_fstab: 7,
    fstab_path: 8,
  },
  do_volume_unmount: { dir_name: 0, quota_scope_id: 2, edit_fstab: 4, fstab_path: 5 },
} as const;

/**
 * A message of the broadcast channel, in either form. Null for every other event, this program's own included.
 * @throws what says why a volume request cannot be read.
 */
export function parseVolumeRequest(message: string, codec: Codec): VolumeRequest | null {
  // Cheap before anything is parsed: all broadcasts of the cluster come by here.
  if (!message.includes('do_volume_')) return null;
  const { name, args, payload } = envelope.parse(JSON.parse(message));
  if (name !== 'do_volume_mount' && name !== 'do_volume_unmount') return null;
  const fields: unknown = payload == null ? fieldsOfArgs(name, args ?? '', codec) : JSON.parse(payload);
  if (name === 'do_volume_unmount') {
    const { dir_name, quota_scope_id, ...more } = unmountFields.parse(fields);
    return { name, directory: dir_name, quotaScopeId: quota_scope_id, fstab: wishOf(more) };
  }
  const { dir_name, quota_scope_id, fs_location, fs_type, cmd_options, ...more } = mountFields.parse(fields);
  return {
    name,
    directory: dir_name,
    quotaScopeId: quota_scope_id,
    location: fs_location,
    fsType: fs_type,
    options: cmd_options ?? null,
    fstab: wishOf(more),
  };
}

function fieldsOfArgs(name: keyof typeof ARGS, base64: string, codec: Codec): unknown {
  const args = z.array(z.unknown()).parse(codec.unpack(Buffer.from(base64, 'base64')));
  return Object.fromEntries(Object.entries(ARGS[name]).map(([field, place]) => [field, args[place]]));
}

const wishOf = (fields: { readonly edit_fstab: boolean; readonly fstab_path?: string | null | undefined }) =>
  fields.edit_fstab ? { path: fields.fstab_path ?? DEFAULT_FSTAB } : null;
