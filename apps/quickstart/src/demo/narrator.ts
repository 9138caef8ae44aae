import { styleText } from 'node:util';

/** Prints what the demo does for a person to read, and remembers whether every step held. */
export class Narrator {
  readonly #write: (line: string) => void;
  #step = 0;
  #failures = 0;

  constructor(write: (line: string) => void = (line) => console.log(line)) {
    this.#write = write;
  }

  get failures(): number {
    return this.#failures;
  }

  title(text: string): void {
    this.#write(styleText('bold', text));
  }

  step(text: string): void {
    this.#step += 1;
    this.#write(`\n${styleText('bold', `${this.#step}. ${text}`)}`);
  }

  say(text: string): void {
    this.#write(`   ${text}`);
  }

  /** Says what was seen and whether that is what was promised. */
  check(held: boolean, text: string): void {
    if (!held) this.#failures += 1;
    this.#write(`   ${held ? styleText('green', '✓') : styleText('red', '✗ NOT HELD:')} ${text}`);
  }

  blank(): void {
    this.#write('');
  }
}
