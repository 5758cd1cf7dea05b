import { ValueError } from '../core/errors.js';

export interface DateTimeFields {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly microsecond: number;
}

const ISO = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:(Z)|([+-])(\d\d):(\d\d))?$/;

/**
 * A Python `datetime` with microseconds: naive (no offset), or aware. Fields are local to the offset.
 */
export class DateTime {
  readonly fields: DateTimeFields;
  /** Minutes east of UTC, or null for a naive value. */
  readonly offsetMinutes: number | null;

  constructor(fields: DateTimeFields, offsetMinutes: number | null) {
    this.fields = fields;
    this.offsetMinutes = offsetMinutes;
  }

  /** @throws ValueError when the text is not an ISO 8601 date and time. */
  static parse(text: string): DateTime {
    const match = ISO.exec(text);
    if (!match) throw new ValueError(`not an ISO 8601 date and time: '${text.slice(0, 40)}'`);
    const part = (index: number): number => Number(match[index] ?? 0);
    const offset =
      match[8] !== undefined
        ? 0
        : match[9] === undefined
          ? null
          : (match[9] === '-' ? -1 : 1) * (part(10) * 60 + part(11));
    return new DateTime(
      {
        year: part(1),
        month: part(2),
        day: part(3),
        hour: part(4),
        minute: part(5),
        second: part(6),
        microsecond: Number((match[7] ?? '').padEnd(6, '0')),
      },
      offset,
    );
  }

  /** The same instant with offset zero; a naive value stays as it is. */
  toUtc(): DateTime {
    if (this.offsetMinutes === null || this.offsetMinutes === 0) return this;
    const { year, month, day, hour, minute, second, microsecond } = this.fields;
    const shifted = new Date(0);
    // setUTCFullYear, since Date.UTC takes years below 100 for 19xx
    shifted.setUTCFullYear(year, month - 1, day);
    shifted.setUTCHours(hour, minute - this.offsetMinutes, second);
    return new DateTime(
      {
        year: shifted.getUTCFullYear(),
        month: shifted.getUTCMonth() + 1,
        day: shifted.getUTCDate(),
        hour: shifted.getUTCHours(),
        minute: shifted.getUTCMinutes(),
        second: shifted.getUTCSeconds(),
        microsecond,
      },
      0,
    );
  }

  toString(): string {
    const two = (value: number): string => String(value).padStart(2, '0');
    const { year, month, day, hour, minute, second, microsecond } = this.fields;
    const fraction = microsecond === 0 ? '' : `.${String(microsecond).padStart(6, '0')}`;
    const text = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(second)}${fraction}`;
    if (this.offsetMinutes === null) return text;
    const distance = Math.abs(this.offsetMinutes);
    return `${text}${this.offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(distance / 60))}:${two(distance % 60)}`;
  }
}
