import { createHash } from 'node:crypto';

/** A Lua script; Redis runs it as one step. */
export interface RedisScript {
  readonly lua: string;
  readonly sha1: string;
}

function script(lua: string): RedisScript {
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

const NOW = `
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function int(number) return string.format('%.0f', number) end
local function slicing(window)
  local slice = math.ceil(window / 30)
  return slice, math.ceil(window / slice) + 1
end`;

/**
 * Looks at every key, and counts on all of them if all have room. The algorithms are those of
 * `src/algorithms`, with the server's clock: all processes see one time.
 *
 * KEYS: one per limit. ARGV: epoch milliseconds or '' for the server's, 'charge' or 'peek', then per key:
 * algorithm, requests, window in ms, burst, cost. Answers 1 or 0, then per key: used, remaining, reset in
 * ms, retry in ms (-1: never), receipt.
 */
export const CHARGE = script(`${NOW}
local look = {}

look['fixed-window'] = function(key, requests, window, burst, cost)
  local state = redis.call('HMGET', key, 'used', 'ends')
  local used, ends = tonumber(state[1]) or 0, tonumber(state[2]) or 0
  if ends <= now then used, ends = 0, 0 end
  local reset = math.max(0, ends - now)
  return { size = requests, used = used, reset = reset, retry = reset, receipt = 0, count = function(self)
    if ends == 0 then ends = now + window end
    redis.call('HSET', key, 'used', int(used + cost), 'ends', int(ends))
    redis.call('PEXPIRE', key, int(ends - now))
    self.used, self.reset, self.receipt = used + cost, ends - now, ends
  end }
end

look['sliding-window'] = function(key, requests, window, burst, cost)
  local slice, span = slicing(window)
  local current = math.floor(now / slice)
  local flat = redis.call('HGETALL', key)
  local slices, over, used, newest = {}, {}, 0, 0
  for i = 1, #flat, 2 do
    local index, count = tonumber(flat[i]), tonumber(flat[i + 1])
    if index > current - span and count > 0 then
      slices[#slices + 1] = { index, count }
      used = used + count
      newest = math.max(newest, index)
    else
      over[#over + 1] = flat[i]
    end
  end
  table.sort(slices, function(a, b) return a[1] < b[1] end)
  local function ends(index) return (index + span) * slice - now end
  local retry, missing = 0, used + cost - requests
  for _, entry in ipairs(slices) do
    if missing <= 0 then break end
    missing, retry = missing - entry[2], ends(entry[1])
  end
  local reset = 0
  if used > 0 then reset = ends(newest) end
  return { size = requests, used = used, reset = reset, retry = retry, receipt = 0, count = function(self)
    local index = math.max(current, newest)
    if #over > 0 then redis.call('HDEL', key, unpack(over)) end
    redis.call('HINCRBY', key, int(index), int(cost))
    redis.call('PEXPIRE', key, int(ends(index)))
    self.used, self.reset, self.receipt = used + cost, ends(index), index
  end }
end

look['token-bucket'] = function(key, requests, window, burst, cost)
  local full = burst * window
  local state = redis.call('HMGET', key, 'level', 'time')
  local level, time = tonumber(state[1]), tonumber(state[2])
  if level then
    local elapsed = math.max(0, now - time)
    level, time = math.min(full, level + elapsed * requests), time + elapsed
  else
    level, time = full, now
  end
  local function stand(self)
    self.used = burst - math.floor(level / window)
    self.reset = math.ceil((full - level) / requests)
    self.retry = math.ceil(math.max(0, cost * window - level) / requests)
  end
  local found = { size = burst, receipt = 0, missing = cost * window > level, count = function(self)
    level = level - cost * window
    redis.call('HSET', key, 'level', int(level), 'time', int(time))
    redis.call('PEXPIRE', key, int(math.ceil((full - level) / requests) + math.max(0, time - now)))
    stand(self)
    self.receipt = 1
  end }
  stand(found)
  return found
end

local found, allowed = {}, 1
for i = 1, #KEYS do
  local at = 3 + (i - 1) * 5
  local cost = tonumber(ARGV[at + 4])
  local limit = look[ARGV[at]](KEYS[i], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), cost)
  if limit.missing == nil then limit.missing = limit.used + cost > limit.size end
  if not limit.missing then limit.retry = 0
  elseif cost > limit.size then limit.retry = -1 end
  if limit.missing then allowed = 0 end
  found[i] = limit
end
local answer = { allowed }
for i = 1, #KEYS do
  local limit = found[i]
  if allowed == 1 and ARGV[2] == 'charge' then
    limit.count(limit)
    limit.retry = 0
  end
  for _, number in ipairs({ limit.used, math.max(0, limit.size - limit.used), limit.reset, limit.retry, limit.receipt }) do
    answer[#answer + 1] = number
  end
end
return answer`);

/**
 * Gives points of windows back where the window they were counted in still counts.
 *
 * KEYS: one per limit. ARGV: as above the time, then per key: algorithm, cost, receipt.
 */
export const REFUND = script(`${NOW}
for i = 1, #KEYS do
  local at = 2 + (i - 1) * 3
  local cost, receipt = tonumber(ARGV[at + 1]), ARGV[at + 2]
  local field = nil
  if ARGV[at] == 'sliding-window' then
    field = receipt
  elseif ARGV[at] == 'fixed-window' and redis.call('HGET', KEYS[i], 'ends') == receipt and tonumber(receipt) > now then
    field = 'used'
  end
  local used = field and tonumber(redis.call('HGET', KEYS[i], field))
  if used then redis.call('HINCRBY', KEYS[i], field, int(-math.min(cost, used))) end
end
return 1`);

/**
 * Takes a slot of every key if all have one free. A slot is a member of a sorted set, its score the end of its
 * lease.
 *
 * KEYS: one per limit. ARGV: as above the time, then the call's id, the lease in ms, and per key how many may be
 * taken. Answers 0, or the number of the first key that has none free.
 */
export const TAKE_SLOTS = script(`${NOW}
for i = 1, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', int(now))
  if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[3 + i]) then return i end
end
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], int(now + ARGV[3]), ARGV[2])
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
end
return 0`);

/** KEYS: one per lease. ARGV: the time, the lease in ms, then per key the call's id. */
export const RENEW_SLOTS = script(`${NOW}
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], int(now + ARGV[2]), ARGV[2 + i])
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1`);

/** KEYS: one per limit. ARGV: the time. Answers how many slots of each are taken. */
export const COUNT_SLOTS = script(`${NOW}
local counts = {}
for i = 1, #KEYS do counts[i] = redis.call('ZCOUNT', KEYS[i], '(' .. int(now), '+inf') end
return counts`);
