import { createHash } from 'node:crypto';

/** A Lua script; Redis runs it as one step. */
export interface RedisScript {
  readonly lua: string;
  readonly sha1: string;
}

function script(lua: string): RedisScript {
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

/** KEYS: entry. ARGV: expected text, next text, lifetime in ms or ''. Answers 1 or 0. */
export const COMPARE_AND_SET = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1`);

/**
 * KEYS: entry. ARGV: summand, lifetime in ms or ''. Answers 1 and the sum, or 0 and the text that is
 * there and cannot be counted on from. Numbers in Lua are doubles, as in JavaScript; the sum travels as
 * text, since the client's parser rounds integers near the limit.
 */
export const INCREMENT = script(`
local text = redis.call('GET', KEYS[1])
local limit = 9007199254740991
if text then
  local sum = string.match(text, '^-?%d+$') and tonumber(text) + tonumber(ARGV[1])
  if not sum or math.abs(tonumber(text)) > limit or math.abs(sum) > limit then return {0, text} end
end
redis.call('INCRBY', KEYS[1], ARGV[1])
if not text and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {1, redis.call('GET', KEYS[1])}`);

/** KEYS: lock, fence. ARGV: token, lifetime in ms. Answers the fencing token, 0 when the lock is held. */
export const ACQUIRE_LOCK = script(`
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return redis.call('INCR', KEYS[2])`);

/** KEYS: lock. ARGV: token, lifetime in ms. Answers 1 or 0. */
export const EXTEND_LOCK = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

/** KEYS: lock. ARGV: token. Answers 1 or 0. */
export const RELEASE_LOCK = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`);

/**
 * KEYS: channel. ARGV: message. As a script, because its key decides which node of a Cluster sends it: the one
 * node a channel has keeps its messages in order.
 */
export const PUBLISH = script(`return redis.call('PUBLISH', KEYS[1], ARGV[1])`);
