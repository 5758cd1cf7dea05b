/**
 * How many connections a bound socket has, and which peers may call.
 *
 * ZeroMQ tells when a connection comes and goes but not whose it is, and zeromq.js can close no single one. So above
 * the bound nobody is thrown out: peers that were heard before it was reached go on, others are refused their calls
 * with a named error until connections have gone.
 */
export class Connections {
  readonly #max: number;
  readonly #onChange: (open: number) => void;
  /** Peers that may call, the one heard longest ago first. Those that have gone fall out at that end. */
  readonly #admitted = new Set<string>();
  #open = 0;

  constructor(max: number, onChange: (open: number) => void = () => undefined) {
    this.#max = max;
    this.#onChange = onChange;
  }

  get open(): number {
    return this.#open;
  }

  onAccept(): void {
    this.#change(1);
  }

  onDisconnect(): void {
    this.#change(-1);
  }

  /** May this peer call? To be asked with each of its calls. */
  admits(peer: string): boolean {
    const known = this.#admitted.delete(peer);
    if (!known && this.#open > this.#max) return false;
    this.#admitted.add(peer);
    if (this.#admitted.size > this.#max)
      for (const oldest of this.#admitted) {
        this.#admitted.delete(oldest);
        break;
      }
    return true;
  }

  #change(by: number): void {
    this.#open = Math.max(0, this.#open + by);
    this.#onChange(this.#open);
  }
}
