import { connect, type Socket } from 'node:net';
import { wrongAnswer } from './echo-answer.ts';
import type { EchoRequestWriter } from './echo-request.ts';
import { writeDigits } from './echo-request.ts';
import type { Endpoint } from './http-call.ts';
import { HttpResponseReader } from './http-response-reader.ts';

/** What a connection tells. */
export interface ConnectionEvents {
  /** It is open, or its last answer has come: it can be asked. */
  ready(connection: EchoConnection): void;
  /** The answer has come; `wrong` says what is wrong with it. */
  answered(connection: EchoConnection, wrong: string | undefined): void;
  /** It is closed; `broken` says how, when that was not the generator's or, between answers, the server's wish. */
  closed(broken: string | undefined): void;
}

const ANSWER_TIMEOUT_MS = 10_000;
/** One read of the kernel's; larger answers arrive in several. */
const READ_BYTES = 16_384;

/**
 * One HTTP connection with one request at a time, made to cost the generator little: requests are the same bytes but
 * for their number, bytes are read into one buffer, and an answer that is, byte for byte, the last one that was looked
 * at in full, with this request's number in the place of that one's, is right without being parsed.
 */
export class EchoConnection {
  /** For the owner: when the request in progress was, or should have been, sent. */
  startedAt = 0;
  readonly #socket: Socket;
  readonly #writer: EchoRequestWriter;
  readonly #events: ConnectionEvents;
  readonly #reader = new HttpResponseReader();
  #number = 0;
  #isWaiting = false;
  #template: AnswerTemplate | undefined;

  constructor({ host, port }: Endpoint, writer: EchoRequestWriter, events: ConnectionEvents) {
    this.#writer = writer;
    this.#events = events;
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const socket = connect({
      ...{ host, port, noDelay: true },
      onread: {
        buffer,
        callback: (length) => {
          this.#receive(buffer, length);
          return true;
        },
      },
    });
    this.#socket = socket;
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS} ms`)));
    socket.once('connect', () => events.ready(this));
    let broken: string | undefined;
    socket.once('error', (error) => (broken = `the connection broke: ${error.message}`));
    socket.once('close', () => events.closed(broken ?? (this.#isWaiting ? 'the connection was closed without an answer' : undefined)));
  }

  ask(number: number): void {
    this.#number = number;
    this.#isWaiting = true;
    this.#socket.write(this.#writer.write(number));
  }

  end(): void {
    this.#socket.end();
  }

  #receive(buffer: Buffer, length: number): void {
    if (this.#template !== undefined && !this.#reader.isWithin && this.#template.equals(buffer, length, this.#number)) {
      this.#isWaiting = false;
      this.#events.answered(this, undefined);
      this.#events.ready(this);
      return;
    }
    // The buffer is read into again: what is kept has to be a copy.
    const bytes = Buffer.from(buffer.subarray(0, length));
    const wasWithin = this.#reader.isWithin;
    let response: ReturnType<HttpResponseReader['feed']>;
    try {
      response = this.#reader.feed(bytes);
    } catch (error) {
      this.#socket.destroy(error as Error);
      return;
    }
    if (response === undefined) return;
    this.#isWaiting = false;
    const wrong = wrongAnswer(response, this.#number);
    this.#template = wrong === undefined && !wasWithin && !response.lastOnConnection ? new AnswerTemplate(bytes, this.#number) : undefined;
    this.#events.answered(this, wrong);
    if (response.lastOnConnection) this.#socket.end();
    else this.#events.ready(this);
  }
}

/** A right answer, to compare further ones with. */
class AnswerTemplate {
  readonly #bytes: Buffer;
  readonly #offsets: readonly number[];

  constructor(bytes: Buffer, number: number) {
    this.#bytes = bytes;
    const digits = String(number);
    const offsets: number[] = [];
    for (let at = 0; (at = bytes.indexOf(digits, at, 'latin1')) !== -1; at += digits.length) offsets.push(at);
    this.#offsets = offsets;
  }

  equals(buffer: Buffer, length: number, number: number): boolean {
    if (length !== this.#bytes.length) return false;
    writeDigits(this.#bytes, this.#offsets, number);
    return this.#bytes.compare(buffer, 0, length) === 0;
  }
}
