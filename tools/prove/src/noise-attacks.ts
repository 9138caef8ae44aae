import { type Link, MAX_MESSAGE_BYTES } from './noise-link.ts';

/** A way to make a frame that the receiver of a link must refuse. */
export interface Attack {
  readonly kind: 'tampered' | 'replayed' | 'reordered' | 'truncated' | 'joined' | 'crossed' | 'wrong kind';
  readonly name: string;
  /** Before the greeting; default: after it. */
  readonly isFirst?: boolean;
  /** Takes a hundred times as long as the others, and is drawn that much less often. */
  readonly isLarge?: boolean;
  /** `other` is a channel with keys of its own, as far along. */
  frame(link: Link, other: () => Link): Uint8Array;
}

const MORE = 0;
const MESSAGE = 1;
const REKEY = 3;
const HELLO = 4;
const WELCOME = 5;
const CLOSE = 6;
const RECORD_BYTES = 65_535;

/** The attacks. */
export const ATTACKS: readonly Attack[] = [
  { kind: 'tampered', name: 'one bit of a frame', frame: (link) => flip(link, link.next(), 0, 1) },
  { kind: 'tampered', name: 'a byte of a frame', frame: (link) => flip(link, link.next(), 0, 255) },
  { kind: 'tampered', name: 'the type of a record', frame: (link) => flipAt(link.next(), 0, 1 + link.below(255)) },
  { kind: 'tampered', name: 'the tag of a frame', frame: (link) => flip(link, link.next(), -16, 255) },
  { kind: 'tampered', name: 'the last byte of a frame', frame: (link) => flip(link, link.next(), -1, 255) },
  { kind: 'tampered', name: 'bytes from nowhere', frame: (link) => link.randomBytes(link.below(100)) },
  { kind: 'tampered', name: 'the greeting', isFirst: true, frame: (link) => flip(link, link.sender.seal('{}', link.greeting), 0, 255) },
  {
    kind: 'replayed',
    name: 'a frame that was delivered',
    frame: (link) => link.delivered[link.below(link.delivered.length)] as Uint8Array,
  },
  {
    kind: 'replayed',
    name: 'the latest frame',
    frame(link) {
      link.deliver(link.next());
      return link.delivered.at(-1) as Uint8Array;
    },
  },
  {
    kind: 'reordered',
    name: 'a later frame first',
    frame(link) {
      for (let skipped = 1 + link.below(3); skipped > 0; skipped -= 1) link.next();
      return link.next();
    },
  },
  {
    kind: 'reordered',
    name: 'the records of a frame',
    isLarge: true,
    frame(link) {
      const frame = large(link);
      return concat(frame.subarray(RECORD_BYTES, 2 * RECORD_BYTES), frame.subarray(0, RECORD_BYTES), frame.subarray(2 * RECORD_BYTES));
    },
  },
  {
    kind: 'reordered',
    name: 'a message before the greeting',
    isFirst: true,
    frame(link) {
      link.sender.seal('{}', link.greeting);
      return link.next();
    },
  },
  { kind: 'truncated', name: 'the end of a frame', frame: (link) => cut(link, link.next()) },
  {
    kind: 'truncated',
    name: 'the beginning of a frame',
    frame(link) {
      const frame = link.next();
      return frame.subarray(1 + link.below(frame.length));
    },
  },
  {
    kind: 'truncated',
    name: 'the last records of a frame',
    isLarge: true,
    frame: (link) => large(link).subarray(0, RECORD_BYTES),
  },
  { kind: 'truncated', name: 'the first record of a frame', isLarge: true, frame: (link) => large(link).subarray(RECORD_BYTES) },
  { kind: 'joined', name: 'two frames', frame: (link) => concat(link.next(), link.next()) },
  {
    kind: 'joined',
    name: 'a full frame and the next',
    isLarge: true,
    frame: (link) => concat(link.sender.seal(new Uint8Array(65_518)), link.next()),
  },
  { kind: 'joined', name: 'a frame and a rotation', frame: (link) => concat(link.next(), link.sender.rotate()) },
  {
    kind: 'joined',
    name: 'a full frame and a few more bytes',
    isLarge: true,
    frame: (link) => concat(link.sender.seal(new Uint8Array(65_518 * (1 + link.below(2)))), link.randomBytes(1 + link.below(20))),
  },
  { kind: 'joined', name: 'a frame and more bytes', frame: (link) => concat(link.next(), link.randomBytes(1 + link.below(40))) },
  {
    kind: 'joined',
    name: 'the end of one frame and the beginning of another',
    isLarge: true,
    frame: (link) => concat(large(link).subarray(-100), link.next()),
  },
  { kind: 'crossed', name: 'from another channel', frame: (_link, other) => other().next() },
  {
    kind: 'crossed',
    name: 'the greeting of another channel',
    isFirst: true,
    frame: (link, other) => other().delivered[0] ?? link.randomBytes(40),
  },
  {
    kind: 'crossed',
    name: 'sent back',
    isFirst: true,
    frame: (link) => link.receiver.seal('{}', link.answer),
  },
  {
    kind: 'crossed',
    name: 'sent back, a message',
    frame(link) {
      link.receiver.seal('{}', link.answer);
      for (let at = 1; at < link.delivered.length; at += 1) link.receiver.seal('{}');
      return link.receiver.seal('{}');
    },
  },
  { kind: 'wrong kind', name: 'an unknown type', frame: (link) => link.raw(7 + link.below(249), 1, 2) },
  { kind: 'wrong kind', name: 'no type', frame: (link) => link.raw() },
  { kind: 'wrong kind', name: 'no type at first', isFirst: true, frame: (link) => link.raw() },
  { kind: 'wrong kind', name: 'a message at first', isFirst: true, frame: (link) => link.raw(MESSAGE, 1) },
  { kind: 'wrong kind', name: 'a rotation at first', isFirst: true, frame: (link) => link.raw(REKEY) },
  {
    kind: 'wrong kind',
    name: "the receiver's greeting",
    isFirst: true,
    frame: (link) => link.raw(link.senderRole === 'client' ? WELCOME : HELLO, 1),
  },
  { kind: 'wrong kind', name: 'a second greeting', frame: (link) => link.raw(link.senderRole === 'client' ? HELLO : WELCOME, 1) },
  {
    kind: 'wrong kind',
    name: "the receiver's greeting, later",
    frame: (link) => link.raw(link.senderRole === 'client' ? WELCOME : HELLO, 1),
  },
  { kind: 'wrong kind', name: 'more to follow at the end', frame: (link) => link.raw(MORE, 1) },
  { kind: 'wrong kind', name: 'a rotation with content', frame: (link) => link.raw(REKEY, 0) },
  {
    kind: 'wrong kind',
    name: 'a rotation kept to itself',
    frame(link) {
      link.senderState.rekey();
      return link.raw(MESSAGE);
    },
  },
  {
    kind: 'wrong kind',
    name: 'a rotation announced only',
    frame(link) {
      link.deliver(link.raw(REKEY));
      return link.raw(MESSAGE);
    },
  },
  {
    kind: 'wrong kind',
    name: 'a greeting in parts',
    isLarge: true,
    isFirst: true,
    frame: (link) => parts(link, link.senderRole === 'client' ? HELLO : WELCOME),
  },
  { kind: 'wrong kind', name: 'a close in parts', isLarge: true, frame: (link) => parts(link, CLOSE) },
  { kind: 'wrong kind', name: 'a rotation in parts', isLarge: true, frame: (link) => parts(link, REKEY) },
  {
    kind: 'wrong kind',
    name: 'a whole message within a frame',
    isLarge: true,
    frame: (link) => concat(link.raw(MESSAGE, new Uint8Array(65_518)), link.raw(MESSAGE, 1)),
  },
  { kind: 'wrong kind', name: 'a close without a code', frame: (link) => link.raw(CLOSE, new Uint8Array(link.below(2))) },
  { kind: 'wrong kind', name: 'a close code that is none', frame: (link) => link.raw(CLOSE, link.below(3), link.below(200)) },
  { kind: 'wrong kind', name: 'a close whose reason is not UTF-8', frame: (link) => link.raw(CLOSE, 3, 232, 0xff) },
  { kind: 'wrong kind', name: 'a close with a long reason', frame: (link) => link.raw(CLOSE, 3, 232, new Uint8Array(124)) },
  {
    kind: 'wrong kind',
    name: 'a message after the close',
    frame(link) {
      link.deliver(link.sender.sealClose(1000, ''));
      return link.raw(MESSAGE, 1);
    },
  },
  {
    kind: 'wrong kind',
    name: 'a message over the limit',
    isLarge: true,
    frame: (link) => link.sender.seal(new Uint8Array(MAX_MESSAGE_BYTES + 1 + link.below(9))),
  },
];

/** A message of two to three records. */
function large(link: Link): Uint8Array {
  return link.sender.seal(link.randomBytes(65_519 + link.below(84_000)));
}

function parts(link: Link, type: number): Uint8Array {
  return concat(link.raw(MORE, new Uint8Array(65_518)), link.raw(type, 3, 232));
}

/** Changes one of the bytes from `from` on; with a mask of 1 a single bit of it. */
function flip(link: Link, frame: Uint8Array, from: number, mask: 1 | 255): Uint8Array {
  const start = from < 0 ? frame.length + from : from;
  return flipAt(frame, start + link.below(frame.length - start), mask === 1 ? 1 << link.below(8) : 1 + link.below(255));
}

function flipAt(frame: Uint8Array, at: number, mask: number): Uint8Array {
  const changed = new Uint8Array(frame);
  changed[at] = (changed[at] as number) ^ mask;
  return changed;
}

function cut(link: Link, frame: Uint8Array): Uint8Array {
  return frame.subarray(0, link.below(frame.length));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
