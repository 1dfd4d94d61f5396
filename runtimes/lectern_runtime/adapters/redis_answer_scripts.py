"""The scripts of the answer cache in Redis; `redis_answers` says what lies in the hash that they work on.

Each has the hash as its only key. The first argument names a new filling, should one begin. A script that runs is
never stopped halfway for want of memory: Redis refuses only its first command that writes, so `FORGET`, which must
work on a full server too, begins with one that needs no memory.
"""

_SPACE = """
local space = KEYS[1]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local keep_ms = 3600000

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function number(field)
  return tonumber(redis.call('HGET', space, field) or 0)
end

local function live_for(ms)
  if redis.call('PTTL', space) < ms then redis.call('PEXPIRE', space, string.format('%.0f', ms)) end
end

local function begin()
  if redis.call('HGET', space, 'run') ~= run then
    redis.call('UNLINK', space)
    redis.call('HSET', space, 'run', run, 'epoch', ARGV[1])
    live_for(keep_ms)
  end
end

local function head_of(key)
  local head = redis.call('HGET', space, 'h:' .. key)
  if not head then return nil end
  local expires, place, size, documents = string.match(head, '^(%d+) (%d+) (%d+) (.*)$')
  return tonumber(expires), place, tonumber(size), documents
end

local function take_out(key)
  local expires, place, size, documents = head_of(key)
  if not expires then return nil end
  redis.call('HDEL', space, 'a:' .. key, 'h:' .. key, 'o:' .. place)
  redis.call('HINCRBY', space, 'count', -1)
  redis.call('HINCRBY', space, 'bytes', -size)
  return cjson.decode(documents), expires
end

local function unlist(document, gone)
  local field, kept = 'd:' .. document, {}
  for key in string.gmatch(redis.call('HGET', space, field) or '', '[^\\n]+') do
    if not gone[key] then kept[#kept + 1] = key .. '\\n' end
  end
  if #kept == 0 then redis.call('HDEL', space, field) else redis.call('HSET', space, field, table.concat(kept)) end
end

local function remove(key)
  for _, document in ipairs(take_out(key) or {}) do unlist(document, {[key] = true}) end
end
"""

GET = (
    _SPACE
    + """
if redis.call('HGET', space, 'run') ~= run then return false end
local expires, place, size, documents = head_of(ARGV[2])
if not expires or expires <= milliseconds() then return false end
return {redis.call('HGET', space, 'a:' .. ARGV[2]), documents}
"""
)
"""Arguments: filling, key. Returns the answer and its documents, or nothing."""

MARK = (
    _SPACE
    + """
begin()
live_for(keep_ms)
return {redis.call('HGET', space, 'epoch'), number('n')}
"""
)
"""Arguments: filling. Returns the filling and the number of changes."""

PUT = (
    _SPACE
    + """
local key, epoch, since, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local size, most, most_bytes, documents = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
if redis.call('HGET', space, 'run') ~= run or redis.call('HGET', space, 'epoch') ~= epoch then return 0 end
if since < number('floor') then return 0 end
for _, document in ipairs(cjson.decode(documents)) do
  if number('c:' .. document) > since then return 0 end
end
local now = milliseconds()
local place = redis.call('HINCRBY', space, 'last', 1)
remove(key)
local head = string.format('%.0f %d %d ', now + ttl, place, size) .. documents
redis.call('HSET', space, 'a:' .. key, ARGV[10], 'h:' .. key, head, 'o:' .. place, key)
for _, document in ipairs(cjson.decode(documents)) do
  local field = 'd:' .. document
  redis.call('HSET', space, field, (redis.call('HGET', space, field) or '') .. key .. '\\n')
end
local count = redis.call('HINCRBY', space, 'count', 1)
local bytes = redis.call('HINCRBY', space, 'bytes', size)
local first = number('first')
while first < place do
  local oldest = redis.call('HGET', space, 'o:' .. first)
  if oldest then
    local expires = head_of(oldest)
    if count <= most and bytes <= most_bytes and expires > now then break end
    remove(oldest)
    count, bytes = number('count'), number('bytes')
  end
  first = first + 1
end
redis.call('HSET', space, 'first', first)
live_for(ttl)
return 1
"""
)
"""Arguments: filling, key, filling and number of the mark, ms to live, bytes, bounds, documents as JSON, answer."""

FORGET = (
    _SPACE
    + """
local document, most = ARGV[2], tonumber(ARGV[3])
redis.call('HDEL', space, '-')
begin()
local before = redis.call('HGET', space, 'c:' .. document)
local change = redis.call('HINCRBY', space, 'n', 1)
if before then redis.call('HDEL', space, 't:' .. before) else redis.call('HINCRBY', space, 'remembered', 1) end
redis.call('HSET', space, 'c:' .. document, change, 't:' .. change, document)
local oldest = number('oldest')
while number('remembered') > most do
  oldest = oldest + 1
  local other = redis.call('HGET', space, 't:' .. oldest)
  if other then
    redis.call('HDEL', space, 'c:' .. other, 't:' .. oldest)
    redis.call('HINCRBY', space, 'remembered', -1)
    redis.call('HSET', space, 'floor', oldest, 'oldest', oldest)
  end
end
local dropped, gone, others, now = 0, {}, {}, milliseconds()
for key in string.gmatch(redis.call('HGET', space, 'd:' .. document) or '', '[^\\n]+') do
  local documents, expires = take_out(key)
  if documents then
    gone[key] = true
    if expires > now then dropped = dropped + 1 end
    for _, other in ipairs(documents) do others[other] = true end
  end
end
for other in pairs(others) do unlist(other, gone) end
redis.call('HDEL', space, 'd:' .. document)
live_for(keep_ms)
return dropped
"""
)
"""Arguments: filling, document, bound of the changes that are remembered. Returns how many answers went."""
