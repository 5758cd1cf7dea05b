import { z } from 'zod';

/** What became of one delivery; `events/DeliveryOutcome` is the same. */
export interface DeliveryAnswer {
  /** Which need was not met: then nothing was sent. */
  readonly held: 'unread' | 'no-group' | null;
  /** Null where that was not asked or cannot be known. */
  readonly hasGroup: boolean | null;
  /** Last entry that the group was given; empty where it is not known. */
  readonly position: string;
}

/**
 * A look at the group that managers read as, then stream, kept copy and channel, all in one step and once for each
 * token. An attempt whose answer was lost may be carried out much later, by a server that was frozen for instance, so
 * whether an event is there already is decided by Redis. The first write comes first: what refuses it (memory, a
 * replica) refuses all.
 *
 * Keys: token, stream, kept copy (may be missing). Arguments: seconds that the token is kept (empty: no matter whether
 * it is a repeat), length of the stream, broadcast (empty: none), seconds that the copy is kept, channel, group, unread
 * entries below which it may go (empty: any number), whether there must be a group (empty: no), fields of the entry.
 * Answer: `taken`, `unread` or `no-group`; `there`, `none` or `unknown` for the group; the group's position.
 *
 * The server's own count of what is unread (`lag`, Redis 7) is taken where it says that there is room. Otherwise the
 * entries behind the group's position are counted: there may be no such number, or it counts what is gone already.
 */
export const DELIVER = `
if ARGV[1] ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then return {'taken', 'unknown', ''} end
local fields = {}
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
local group, position = 'unknown', ''
if #fields > 0 then
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[2])
  if groups.err then
    if string.find(groups.err, 'no such key', 1, true) then group = 'none' end
  else
    group = 'none'
    for _, row in ipairs(groups) do
      local of = {}
      for i = 1, #row - 1, 2 do of[row[i]] = row[i + 1] end
      if of['name'] == ARGV[6] then
        group, position = 'there', of['last-delivered-id']
        local limit, unread = tonumber(ARGV[7]), of['lag']
        if limit and (not unread or unread >= limit) then
          local ms, number = string.match(position, '^(%d+)%-(%d+)$')
          local from = ms .. '-' .. string.format('%.0f', tonumber(number) + 1)
          unread = #redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', limit)
          if unread >= limit then return {'unread', group, position} end
        end
      end
    end
  end
  if group == 'none' and ARGV[8] ~= '' then return {'no-group', group, position} end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], '1', 'EX', ARGV[1]) end
if ARGV[3] ~= '' then
  if KEYS[3] then redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[4]) end
  redis.call('PUBLISH', ARGV[5], ARGV[3])
end
return {'taken', group, position}`;

const answerSchema = z.tuple([
  z.enum(['taken', 'unread', 'no-group']),
  z.enum(['there', 'none', 'unknown']),
  z.string(),
]);

/** @throws ZodError for anything but an answer of `DELIVER`. */
export function readAnswer(answer: unknown): DeliveryAnswer {
  const [outcome, group, position] = answerSchema.parse(answer);
  return {
    held: outcome === 'taken' ? null : outcome,
    hasGroup: group === 'unknown' ? null : group === 'there',
    position,
  };
}

const groupsSchema = z.array(z.array(z.unknown()));

/** One group out of the answer of `XINFO GROUPS`: its position, and what it has left to read where the server knows. */
export function readGroup(
  answer: unknown,
  name: string,
): { readonly position: string; readonly unread: number | null } | 'none' | 'unknown' {
  const groups = groupsSchema.safeParse(answer);
  if (!groups.success) return 'unknown';
  for (const row of groups.data) {
    const of = new Map(row.flatMap((key, at) => (at % 2 === 0 ? [[key, row[at + 1]] as const] : [])));
    if (of.get('name') !== name) continue;
    const unread = of.get('lag');
    return {
      position: String(of.get('last-delivered-id')),
      unread: typeof unread === 'number' ? unread : null,
    };
  }
  return 'none';
}
