-- Commits one decision: checks its conditions, then applies its effects, all or nothing. No rule of the policy is here.
-- ARGV is a list of operations, the conditions first: each a letter, the place of its key in KEYS, and its words.
-- Runs on Lua 5.1 (Redis) and 5.4 (Dragonfly): whole numbers only, every key from KEYS, no globals. It is one flat
-- loop, because a function that each call creates would cost more than its work.
-- Without arguments it returns `ready` and touches nothing, so a command can check whether the server runs it.
local last = #ARGV
if last == 0 then return 'ready' end
local call, pcall, unpack, floor, format = redis.call, redis.pcall, table.unpack or unpack, math.floor, string.format
local time = call('TIME')
local now = floor(tonumber(time[1])) * 1000 + floor(tonumber(time[2]) / 1000)
local now_text = format('%.0f', now)
local MONTH, WEEKS = '2764800000', 2592000000
local unjournaled, at = '', 1

while at <= last do
  local op, key, a, b = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  local holds = true
  if op == 'V' then
    -- V key beginning: the document begins with this text. An empty text means that there is none.
    local document = call('GET', key)
    if a == '' then
      holds = not document or document == ''
    else
      holds = document and string.sub(document, 1, #a) == a
    end
    at = at + 3
  elseif op == 'T' then
    -- T - time: decided at this time, at most a second ago.
    local since = now - tonumber(a)
    holds = since >= 0 and since <= 1000
    at = at + 3
  elseif op == 'N' then
    -- N key nth period: the nth newest entry is older than the period.
    local entry = call('ZRANGE', key, '-' .. a, '-' .. a, 'WITHSCORES')[2]
    holds = not entry or math.min(floor(tonumber(entry)), now) + tonumber(b) <= now
    at = at + 4
  elseif op == 'C' then
    -- C key period most: no more entries than this are younger than the period.
    holds = call('ZCOUNT', key, format('(%.0f', now - tonumber(a)), '+inf') <= tonumber(b)
    at = at + 4
  elseif op == 'S' then
    -- S key lifetime document: writes a document; an empty lifetime is endless.
    if a == '' then call('SET', key, b) else call('SET', key, b, 'PX', a) end
    at = at + 4
  elseif op == 'A' then
    -- A key keep member: adds an entry of this moment, and removes entries that nothing counts any more. The first
    -- write is the one that a server without memory refuses. After another write it would refuse none of them.
    call('ZADD', key, now_text, b)
    call('ZREMRANGEBYSCORE', key, '-inf', format('(%.0f', now - tonumber(a)))
    call('PEXPIRE', key, format('%.0f', tonumber(a) + tonumber(MONTH)))
    at = at + 4
  elseif op == 'W' then
    -- W key score member: ranks a member of a wait queue.
    call('ZADD', key, a, b)
    call('PEXPIRE', key, MONTH)
    at = at + 4
  elseif op == 'P' then
    -- P key score member: adds an entry of an earlier time, unless it is there.
    call('ZADD', key, 'NX', a, b)
    call('PEXPIRE', key, MONTH)
    at = at + 4
  elseif op == 'K' then
    -- K key lifetime: sets the document's lifetime from now on. The same commit writes a document that lasts longer.
    call('PEXPIRE', key, a)
    at = at + 3
  elseif op == 'X' then
    -- X key member: removes a member, by the score that no other has.
    call('ZADD', key, '-1', a)
    call('ZREMRANGEBYSCORE', key, '-1', '-1')
    at = at + 3
  elseif op == 'E' then
    -- E key until: removes the entries up to this time.
    call('ZREMRANGEBYSCORE', key, '-inf', a)
    at = at + 3
  elseif op == 'F' then
    -- F key: the clock was set back, so entries later than now get the time now.
    local later = call('ZRANGE', key, '-1000', '-1', 'WITHSCORES')
    for i = 1, #later, 2 do
      if floor(tonumber(later[i + 1])) > now then call('ZADD', key, now_text, later[i]) end
    end
    at = at + 2
  elseif op == 'I' then
    -- I key member before: notes in an index when a member was last seen. Removes members of 30 days ago, and `before`
    -- unless it is empty. A broken index harms no verdict.
    if b ~= '' then pcall('ZADD', key, '0', b) end
    pcall('ZADD', key, now_text, a)
    pcall('ZREMRANGEBYSCORE', key, '-inf', format('%.0f', now - WEEKS))
    at = at + 4
  elseif op == 'R' then
    -- R channel event: notifies waiting engines. They also read by themselves, so a failure costs no verdict.
    pcall('PUBLISH', ARGV[at + 1], a)
    at = at + 3
  else
    -- J key maxlen count words: adds the journal's entry; one that cannot be written stops no verdict.
    local words = at + 4 + tonumber(b)
    local added = pcall('XADD', key, 'MAXLEN', '~', a, '*', unpack(ARGV, at + 4, words - 1))
    if type(added) == 'table' and added.err then unjournaled = '1' end
    at = words
  end
  if not holds then return { 'conflict', now_text, '' } end
end
return { 'done', now_text, unjournaled }
