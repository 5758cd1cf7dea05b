import type { SlotDescription } from '../resources/index.js';

/** The original's name of main memory, here and nowhere else. */
const FIELD_NAMES: Readonly<Record<string, string>> = { mem: 'ram' };

/** Slot -> its description for people as JSON, as in `computer.metadata` (spec/events-and-stores.md 5.7). */
export function slotMetadata(slots: readonly SlotDescription[]): ReadonlyMap<string, string> {
  return new Map(
    slots.flatMap(({ slotName, label }) => {
      if (!label) return [];
      const name = FIELD_NAMES[slotName] ?? slotName;
      const metadata = {
        slot_name: name,
        description: label.description,
        human_readable_name: label.humanReadableName,
        display_unit: label.displayUnit,
        number_format: { binary: label.numberFormat.binary, round_length: label.numberFormat.roundLength },
        display_icon: label.displayIcon,
      };
      return [[name, JSON.stringify(metadata)] as const];
    }),
  );
}
