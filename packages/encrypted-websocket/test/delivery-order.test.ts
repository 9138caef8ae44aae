import { expect, it } from 'vitest';
import { DeliveryOrder } from '../src/delivery-order.js';

type Message = Parameters<DeliveryOrder['take']>[0];

const progress = (n: number): Message => ({ jsonrpc: '2.0', method: `progress ${n}` });
const result = (id: number): Message => ({ jsonrpc: '2.0', id, result: {} });
const request = (id: number): Message => ({ jsonrpc: '2.0', id, method: 'ask' });

function subject() {
  const seen: (string | number)[] = [];
  const tasks: (() => void)[] = [];
  const order = new DeliveryOrder({
    later: (task) => void tasks.push(task),
    deliver: (message) => void seen.push('id' in message ? (message.id as number) : (message as { method: string }).method),
    pause: () => void seen.push('paused'),
    resume: () => void seen.push('resumed'),
  });
  return { order, seen, nextTurn: () => tasks.splice(0).forEach((task) => void task()) };
}

it('delivers responses of one turn at once', () => {
  const { order, seen, nextTurn } = subject();
  for (const id of [1, 2, 3]) order.take(result(id));
  nextTurn();
  expect(seen).toEqual([1, 2, 3]);
});

it('makes what follows a notification wait for the next turn, and reads nothing meanwhile', () => {
  const { order, seen, nextTurn } = subject();
  for (const message of [progress(1), progress(2), result(1), progress(3), request(2)]) order.take(message);
  expect(seen).toEqual(['progress 1', 'progress 2', 'paused']);
  nextTurn();
  expect(seen.slice(3)).toEqual([1, 'progress 3']);
  nextTurn();
  expect(seen.slice(5)).toEqual([2, 'resumed']);
  order.take(result(3));
  expect(seen.at(-1)).toBe(3);
});

it('keeps the order of what comes while something waits', () => {
  const { order, seen, nextTurn } = subject();
  order.take(progress(1));
  order.take(result(1));
  nextTurn();
  order.take(progress(2));
  order.take(result(2));
  order.take(result(3));
  nextTurn();
  expect(seen.filter((what) => what !== 'paused' && what !== 'resumed')).toEqual(['progress 1', 1, 'progress 2', 2, 3]);
});

it('delivers what waits when nothing comes after it', () => {
  const { order, seen, nextTurn } = subject();
  for (const message of [progress(1), result(1), progress(2)]) order.take(message);
  order.flush();
  nextTurn();
  expect(seen).toEqual(['progress 1', 'paused', 1, 'progress 2']);
});
