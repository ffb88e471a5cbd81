-- Commits one decision: checks its conditions, then applies its effects, all or nothing. No rule of the policy is here.
-- ARGV is a list of operations, each a letter and its words; a key is named by its place in KEYS.
-- Runs on Lua 5.1 (Redis) and 5.4 (Dragonfly): whole numbers only, every key from KEYS, no globals.
-- Without arguments it answers `ready` and touches nothing: a command that only looks finds out whether the server runs it.
if #ARGV == 0 then return 'ready' end
local now = (function(t) return math.floor(tonumber(t[1])) * 1000 + math.floor(tonumber(t[2]) / 1000) end)(redis.call('TIME'))
local unpack = table.unpack or unpack
local DAY = 86400000
local function int(x) return math.floor(tonumber(x)) end
local function fmt(n) return string.format('%.0f', n) end

local at = 0
local function word()
  at = at + 1
  return ARGV[at]
end
local function key() return KEYS[int(word())] end
local function words()
  local list = {}
  for i = 1, int(word()) do list[i] = word() end
  return list
end

local conditions = {}
-- V key beginning: the document begins so; an empty text means that there is none.
function conditions.V()
  local document, beginning = redis.call('GET', key()), word()
  if beginning == '' then return not document or document == '' end
  return document and string.sub(document, 1, #beginning) == beginning
end
-- T time: decided at this time, at most a second ago.
function conditions.T()
  local since = now - int(word())
  return since >= 0 and since <= 1000
end
-- N key nth period: the nth newest entry is older than the period.
function conditions.N()
  local k, nth, per = key(), -int(word()), int(word())
  local entry = redis.call('ZRANGE', k, fmt(nth), fmt(nth), 'WITHSCORES')
  return not entry[2] or math.min(int(entry[2]), now) + per <= now
end
-- C key period most: no more entries than this are younger than the period.
function conditions.C()
  local k, per, most = key(), int(word()), int(word())
  return redis.call('ZCOUNT', k, '(' .. fmt(now - per), '+inf') <= most
end

local unjournaled = ''
local effects = {}
-- S key lifetime document: writes a document; an empty lifetime is endless.
function effects.S()
  local k, lifetime, document = key(), word(), word()
  if lifetime == '' then redis.call('SET', k, document) else redis.call('SET', k, document, 'PX', lifetime) end
end
-- A key keep member: adds an entry at this moment, and removes those that nothing counts any more.
function effects.A()
  local k, keep, member = key(), int(word()), word()
  -- First what a server without memory refuses: after another write it would refuse nothing of this script any more.
  redis.call('ZADD', k, fmt(now), member)
  redis.call('ZREMRANGEBYSCORE', k, '-inf', '(' .. fmt(now - keep))
  redis.call('PEXPIRE', k, fmt(keep + 32 * DAY))
end
-- P key time member: adds an entry of an earlier time.
function effects.P()
  local k, time, member = key(), word(), word()
  redis.call('ZADD', k, time, member)
  redis.call('PEXPIRE', k, fmt(32 * DAY))
end
-- W key score member: ranks a member; the set is forgotten a month after the last one.
function effects.W()
  local k, score, member = key(), word(), word()
  redis.call('ZADD', k, score, member)
  redis.call('PEXPIRE', k, fmt(32 * DAY))
end
-- X key member: removes a member, by the score that no other has.
function effects.X()
  local k = key()
  redis.call('ZADD', k, '-1', word())
  redis.call('ZREMRANGEBYSCORE', k, '-1', '-1')
end
-- E key: removes every entry.
function effects.E() redis.call('ZREMRANGEBYSCORE', key(), '-inf', '+inf') end
-- F key: the clock was stepped back: entries later than now are of now.
function effects.F()
  local k = key()
  local later = redis.call('ZRANGE', k, '-1000', '-1', 'WITHSCORES')
  for i = 1, #later, 2 do
    if int(later[i + 1]) > now then redis.call('ZADD', k, fmt(now), later[i]) end
  end
end
-- I key member: notes in an index when a name was last seen; it forgets those of 30 days ago. A broken index harms no verdict.
function effects.I()
  local k, member = key(), word()
  redis.pcall('ZADD', k, fmt(now), member)
  redis.pcall('ZREMRANGEBYSCORE', k, '-inf', fmt(now - 30 * DAY))
end
-- R key event: notifies waiting engines; they also look by themselves, so that a failure costs no verdict.
function effects.R()
  local k = key()
  redis.pcall('XADD', k, 'MAXLEN', '16', '*', 'event', word())
  redis.pcall('PEXPIRE', k, fmt(DAY))
end
-- J key maxlen words: adds the journal's entry; one that cannot be written stops no verdict.
function effects.J()
  local k, most = key(), word()
  local added = redis.pcall('XADD', k, 'MAXLEN', '~', most, '*', unpack(words()))
  if type(added) == 'table' and added.err then unjournaled = '1' end
end

while at < #ARGV do
  local name = word()
  if conditions[name] then
    if not conditions[name]() then return { 'conflict', fmt(now), '' } end
  else
    effects[name]()
  end
end
return { 'done', fmt(now), unjournaled }
