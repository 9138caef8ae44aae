import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Flags of a frame, as the Open Client Protocol 2 has them. */
const UNFRAGMENTED = 0xc000;
const FINAL = 0x2000;
const BEGIN = 0x1000;
const END = 0x0800;
const NULL = 0x0400;
const EVENT = 0x0200;
/** Of a request's first frame: type, correlation id, partition. Of a response's: type, correlation id, backup acks. */
const REQUEST_BODY = 16;
const RESPONSE_BODY = 13;
/** Types of requests. */
const AUTHENTICATE = 0x000100;
const ADD_CLUSTER_VIEW_LISTENER = 0x000300;
const ADD_BACKUP_LISTENER = 0x000f00;
const GET = 0x010200;
const REPLACE_IF_SAME = 0x010500;
const REMOVE_IF_SAME = 0x010800;
const PUT_IF_ABSENT = 0x010e00;
const SET = 0x010f00;
const SET_TTL = 0x014300;
const TAIL_SEQUENCE = 0x170200;
const CAPACITY_OF = 0x170400;
const ADD = 0x170600;
const READ_MANY = 0x170900;
/** Beside the listener: create a proxy, ping, statistics, create proxies, schemas. */
const WITHOUT_RESULT = new Set([ADD_CLUSTER_VIEW_LISTENER, 0x000400, 0x000b00, 0x000c00, 0x000e00, 0x001500]);
const CAPACITY = 10_000;
const PARTITIONS = 1;

interface Frame {
  readonly flags: number;
  readonly content: Buffer;
}

interface Reader {
  readonly sequence: number;
  readonly max: number;
  answer(): void;
}

type Answer = { readonly head?: Buffer; readonly frames?: readonly Frame[] };

/**
 * A stand-in for a Hazelcast member, not the real thing: it speaks the Open Client Protocol 2 with the official
 * client, as far as a map and a ring buffer need it, and keeps both in memory.
 */
export async function startHazelcastStandIn({ password = '' } = {}) {
  const sockets = new Set<Socket>();
  const map = new Map<string, Buffer>();
  const member = new Member(map, password);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    member.serve(socket);
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    member.port = (server.address() as AddressInfo).port;
    return member.port;
  };
  const down = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const port = await listen(0);
  onTestFinished(async () => {
    if (server.listening) await down();
  });
  return {
    url: `hazelcast://127.0.0.1:${port}/test`,
    down,
    up: () => listen(port),
    get connections() {
      return sockets.size;
    },
  };
}

class Member {
  port = 0;
  readonly #map: Map<string, Buffer>;
  readonly #password: string;
  readonly #messages: Buffer[] = [];
  #tail = -1;
  readonly #readers = new Set<Reader>();

  constructor(map: Map<string, Buffer>, password: string) {
    this.#map = map;
    this.#password = password;
  }

  serve(socket: Socket): void {
    let buffered = Buffer.alloc(0);
    let isGreeted = false;
    let frames: Frame[] = [];
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      if (!isGreeted) {
        if (buffered.length < 3) return;
        if (buffered.toString('latin1', 0, 3) !== 'CP2') throw new Error('Not the Open Client Protocol 2');
        isGreeted = true;
        buffered = buffered.subarray(3);
      }
      while (buffered.length >= 6 && buffered.length >= buffered.readInt32LE(0)) {
        const length = buffered.readInt32LE(0);
        const frame = { flags: buffered.readUInt16LE(4), content: Buffer.from(buffered.subarray(6, length)) };
        buffered = buffered.subarray(length);
        frames.push(frame);
        if ((frame.flags & FINAL) === 0) continue;
        this.#request(socket, frames);
        frames = [];
      }
    });
  }

  #request(socket: Socket, [first, ...rest]: readonly Frame[]): void {
    const { content } = first as Frame;
    const type = content.readInt32LE(0);
    const correlation = content.subarray(4, 12);
    const answer = ({ head = Buffer.alloc(0), frames = [] }: Answer, answerType = type + 1, flags = UNFRAGMENTED) => {
      const start = Buffer.alloc(answerType === type + 1 ? RESPONSE_BODY : REQUEST_BODY);
      start.writeInt32LE(answerType, 0);
      correlation.copy(start, 4);
      const all = [{ flags, content: Buffer.concat([start, head]) }, ...frames];
      socket.write(Buffer.concat(all.map((frame, index) => encoded(frame, index === all.length - 1))));
    };
    const data = rest.map((frame) => frame.content);
    if (type === READ_MANY) {
      const body = content.subarray(REQUEST_BODY);
      this.#readMany(Number(body.readBigInt64LE(0)), body.readInt32LE(12), answer);
      return;
    }
    answer(this.#answer(type, data));
    if (type === ADD_CLUSTER_VIEW_LISTENER) this.#tellOfCluster(answer);
    if (type === ADD) this.#wake();
  }

  #answer(type: number, data: readonly Buffer[]): Answer {
    const key = `${data[0]?.toString()} ${data[1]?.toString('base64')}`;
    const before = this.#map.get(key);
    const isSame = before?.equals(data[2] ?? Buffer.alloc(0)) === true;
    switch (type) {
      case AUTHENTICATE:
        return this.#authenticate(data);
      case GET:
        return { frames: [nullable(before)] };
      case PUT_IF_ABSENT:
        if (before === undefined) this.#map.set(key, data[2] as Buffer);
        return { frames: [nullable(before)] };
      case SET:
        this.#map.set(key, data[2] as Buffer);
        return {};
      case REPLACE_IF_SAME:
        if (isSame) this.#map.set(key, data[3] as Buffer);
        return { head: flag(isSame) };
      case REMOVE_IF_SAME:
        if (isSame) this.#map.delete(key);
        return { head: flag(isSame) };
      case SET_TTL:
        return { head: flag(true) };
      case TAIL_SEQUENCE:
        return { head: long(this.#tail) };
      case CAPACITY_OF:
        return { head: long(CAPACITY) };
      case ADD:
        this.#messages.push(data[1] as Buffer);
        if (this.#messages.length > CAPACITY) this.#messages.shift();
        this.#tail += 1;
        return { head: long(this.#tail) };
      case ADD_BACKUP_LISTENER:
        return { head: uuid(3) };
      default:
        if (WITHOUT_RESULT.has(type)) return {};
        throw new Error(`The stand-in for Hazelcast does not know message type 0x${type.toString(16)}`);
    }
  }

  #authenticate(data: readonly Buffer[]): Answer {
    const isRight = data[0]?.toString() === 'test' && (this.#password === '' || data[2]?.toString() === this.#password);
    const head = Buffer.concat([Buffer.from([isRight ? 0 : 1]), uuid(1), Buffer.from([1]), int(PARTITIONS), uuid(2), Buffer.from([0])]);
    return { head, frames: [...this.#address(), plain(Buffer.from('5.5.0'))] };
  }

  #tellOfCluster(answer: (answer: Answer, type: number, flags: number) => void): void {
    const info = [mark(BEGIN), plain(Buffer.concat([uuid(1), Buffer.from([0])])), ...this.#address(), mark(BEGIN), mark(END)];
    const version = [mark(BEGIN), plain(Buffer.from([5, 5, 0])), mark(END)];
    const members = [mark(BEGIN), ...info, ...version, mark(BEGIN), mark(END), mark(END), mark(END)];
    answer({ head: int(1), frames: members }, 0x000302, UNFRAGMENTED | EVENT);
    const partitions = [
      mark(BEGIN),
      plain(Buffer.concat(Array.from({ length: PARTITIONS }, (_, id) => int(id)))),
      mark(END),
      plain(uuid(1)),
    ];
    answer({ head: int(1), frames: partitions }, 0x000303, UNFRAGMENTED | EVENT);
  }

  #address(): Frame[] {
    return [mark(BEGIN), plain(int(this.port)), plain(Buffer.from('127.0.0.1')), mark(END)];
  }

  #wake(): void {
    for (const reader of [...this.#readers]) {
      if (reader.sequence > this.#tail) continue;
      this.#readers.delete(reader);
      reader.answer();
    }
  }

  #readMany(sequence: number, max: number, answer: (answer: Answer) => void): void {
    const reader = {
      sequence,
      max,
      answer: () => {
        const head = this.#tail - this.#messages.length + 1;
        const start = Math.max(sequence, head);
        const items = this.#messages.slice(start - head, start - head + max);
        const frames = [mark(BEGIN), ...items.map(plain), mark(END), mark(NULL)];
        answer({ head: Buffer.concat([int(items.length), long(start + items.length)]), frames });
      },
    };
    if (sequence <= this.#tail) reader.answer();
    else this.#readers.add(reader);
  }
}

function encoded({ flags, content }: Frame, isLast: boolean): Buffer {
  const head = Buffer.alloc(6);
  head.writeInt32LE(content.length + 6, 0);
  head.writeUInt16LE(isLast ? flags | FINAL : flags, 4);
  return Buffer.concat([head, content]);
}

function plain(content: Buffer): Frame {
  return { flags: 0, content };
}

function mark(flags: number): Frame {
  return { flags, content: Buffer.alloc(0) };
}

function nullable(content: Buffer | undefined): Frame {
  return content === undefined ? mark(NULL) : plain(content);
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}

function flag(value: boolean): Buffer {
  return Buffer.from([value ? 1 : 0]);
}

/** Present, then its two halves. */
function uuid(number: number): Buffer {
  return Buffer.concat([Buffer.from([0]), long(number), long(number)]);
}
