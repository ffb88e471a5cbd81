-- What was decided, or is remembered, on a machine that could not ask: told before it asks again. Admits nothing.
-- Runs on Lua 5.1 (Redis) and 5.4 (Dragonfly): whole numbers only, every key from KEYS, no globals.
-- Each claim has a kind: own (decided there), mirror (what this server said before it lost its data), or empty.
local now = (function(t) return math.floor(tonumber(t[1])) * 1000 + math.floor(tonumber(t[2]) / 1000) end)(redis.call('TIME'))

local unpack = table.unpack or unpack
local id, known_born, was_away, mirror_born, mirror_age, keep, released_age, good_stop_age,
  hold_kind, hold_reason, hold_by, hold_age, hold_left,
  fleet_kind, fleet_reason, fleet_by, fleet_age, fleet_left, fleet_released_age,
  stop_kind, stop_age, stop_left, stop_strikes,
  compact_kind, compact_age, compact_left, compact_strikes,
  api_kind, api_age, api_left, api_strikes,
  session_kind, fence, rest, rest_age, rest_left, rest_topic, woken, note, count, begun_age, begun_id,
  scope_name, name, label, host, pid, client, seen_age,
  named_by_project, project,
  valid_until, scope_counts, fleet_counts, admitted = unpack(ARGV, 1, 55)
local ADMITTED_ARGS = 56

local K_SESSION, K_SCOPE, K_FLEET = KEYS[1], KEYS[2], KEYS[3]
local K_SCOPE_QUOTA = scope_counts == '1' and KEYS[4]
local K_FLEET_QUOTA = fleet_counts == '1' and KEYS[#KEYS]
local DAY, LONGEST_NOTES, IN_FLIGHT = 86400000, 8000, 1000

local function int(x)
  if type(x) == 'string' and #x <= 15 and string.find(x, '^%d+$') then return math.floor(tonumber(x)) end
end
local function count_of(x) return int(x) or 0 end
local function text(x) return x or '' end
local function fmt(n) return n and string.format('%.0f', n) or '' end
local function put(into, field, value)
  into[#into + 1] = field
  into[#into + 1] = value
end
-- Ages were told by a clock that was looked at before the server's was asked for `valid_until`.
local told_at = int(valid_until) and math.min(now, int(valid_until) - IN_FLIGHT) or now
local function ago(age) return math.max(0, told_at - count_of(age)) end
local function ahead(left) return int(left) and now + int(left) end

-- A hold or a release that the network delivers late must replace or lift none that came after it.
if int(valid_until) and now > int(valid_until) then return redis.error_reply('ERR told too late') end

---- the fleet ---------------------------------------------------------------------------------------------------
local fleet = {}
local f = redis.call('HMGET', K_FLEET, 'born', 'lost', 'hold_reason', 'hold_by', 'hold_since', 'hold_until', 'released')
local born = text(f[1])
if known_born ~= '' and known_born ~= born and not int(f[2]) then put(fleet, 'lost', fmt(now)) end
if born == '' then
  born = id
  put(fleet, 'born', id)
end
local function counts(kind) return kind == 'own' or (kind == 'mirror' and mirror_born ~= born) end
local function put_hold(into, reason, by, age, left)
  put(into, 'hold_reason', reason)
  put(into, 'hold_by', by)
  put(into, 'hold_since', fmt(ago(age)))
  put(into, 'hold_until', fmt(ahead(left)))
end
-- Whether a hold of which was last told so long ago still stands against what is stored. A person's replaces an older one
-- that ends sooner, as it would have here.
local function stands(kind, whose, age, left, reason, by, since, till, released)
  if not counts(kind) then return false end
  local holds = (text(reason) ~= '' or text(by) ~= '' or text(since) ~= '') and (not int(till) or int(till) > now)
  local persons = kind == 'own' and whose ~= 'api' and whose ~= 'willy'
  local lasts_longer = int(left) and (not int(till) or int(till) > ahead(left))
  if persons and int(since) and int(since) <= ago(age) and not lasts_longer then holds = false end
  return not holds and count_of(released) < ago(age)
end
local freed_age, held_since = int(fleet_released_age), int(f[5])
if freed_age and (not held_since or held_since <= ago(fleet_released_age)) then
  for _, field in ipairs({ 'hold_reason', 'hold_by', 'hold_since', 'hold_until' }) do put(fleet, field, '') end
  f[3], f[4], f[5], f[6] = nil, nil, nil, nil
  f[7] = fmt(math.max(count_of(f[7]), ago(fleet_released_age)))
  put(fleet, 'released', f[7])
end
if stands(fleet_kind, fleet_by, fleet_kind == 'own' and fleet_age or mirror_age, fleet_left, f[3], f[4], f[5], f[6], f[7]) then
  put_hold(fleet, fleet_reason, fleet_by, fleet_age, fleet_left)
end

---- the scope ---------------------------------------------------------------------------------------------------
local scope = {}
local c = redis.call('HMGET', K_SCOPE, 'hold_reason', 'hold_by', 'hold_since', 'hold_until', 'released',
  'stop_cooldown_end', 'stop_strikes', 'compact_cooldown_end', 'compact_strikes', 'api_end', 'api_strikes', 'api_start')
if was_away == '1' then put(scope, 'taken', fmt(now)) end
local released, furthest, endless = count_of(c[5]), now, false
local stored_by, stored_since = text(c[2]), int(c[3])
local held = text(c[1]) ~= '' or stored_by ~= '' or text(c[3]) ~= ''
local lifted_age = int(released_age) and released_age or (stored_by == 'api' and good_stop_age)
if int(lifted_age) and (not held or not stored_since or stored_since <= ago(lifted_age)) then
  for _, field in ipairs({ 'hold_reason', 'hold_by', 'hold_since', 'hold_until' }) do put(scope, field, '') end
  released, held = math.max(released, ago(lifted_age)), false
  put(scope, 'released', fmt(released))
  c[1], c[2], c[3], c[4] = nil, nil, nil, nil
end
-- A release by hand ended the API cooldown too.
if int(released_age) and count_of(c[10]) > now and count_of(c[12]) <= ago(released_age) then
  put(scope, 'api_end', fmt(now))
  c[10] = fmt(now)
end
-- A person's replaces one of API errors.
if hold_kind == 'own' and hold_by ~= 'api' and stored_by == 'api' then c[1], c[2], c[3], c[4] = nil, nil, nil, nil end
if stands(hold_kind, hold_by, hold_kind == 'own' and hold_age or mirror_age, hold_left, c[1], c[2], c[3], c[4], fmt(released)) then
  put_hold(scope, hold_reason, hold_by, hold_age, hold_left)
  endless = not int(hold_left)
  furthest = math.max(furthest, ahead(hold_left) or now)
elseif held then
  endless = not int(c[4])
  furthest = math.max(furthest, int(c[4]) or now)
end
local function span(prefix, counted, kind, age, left, strikes, stored_end, stored_strikes)
  furthest = math.max(furthest, int(stored_end) or now)
  if not counts(kind) then return end
  local till = ahead(left) or now
  if till > now and till > (int(stored_end) or 0) then
    put(scope, prefix .. '_start', fmt(ago(age)))
    put(scope, prefix .. '_end', fmt(till))
    furthest = math.max(furthest, till)
  end
  local most = math.max(count_of(strikes), count_of(stored_strikes))
  if most > count_of(stored_strikes) then put(scope, counted, fmt(most)) end
end
span('stop_cooldown', 'stop_strikes', stop_kind, stop_age, stop_left, stop_strikes, c[6], c[7])
span('compact_cooldown', 'compact_strikes', compact_kind, compact_age, compact_left, compact_strikes, c[8], c[9])
local before = #scope
span('api', 'api_strikes', api_kind, api_age, api_left, api_strikes, c[10], c[11])
-- Whether it is a reset time is not told: it runs out.
if #scope > before then put(scope, 'api_of_key', '') end

---- the session -------------------------------------------------------------------------------------------------
local session = {}
local till = ahead(rest_left)
if session_kind ~= '' then
  local s = redis.call('HMGET', K_SESSION, 'fence', 'woken', 'note', 'begun')
  local stored = int(s[1])
  -- Which of two fences is newer is told by when they were raised: each was counted without the other.
  local begun, stored_id = string.match(text(s[4]), '^(%d+) (.*)$')
  begun = int(begun)
  local newer = stored and stored > count_of(fence)
  if newer and begun and begun_id ~= '' and begun_id == stored_id then
    newer, fence = false, fmt(stored)
  elseif newer and begun and int(begun_age) and ago(begun_age) >= begun then
    newer, fence = false, fmt(stored + 1)
  end
  if counts(session_kind) and not newer and (session_kind == 'own' or not stored) then
    if int(fence) then put(session, 'fence', fence) end
    put(session, 'rest', rest)
    put(session, 'rest_since', rest ~= '' and fmt(ago(rest_age)) or '')
    put(session, 'rest_until', fmt(till))
    put(session, 'rest_topic', rest_topic)
    put(session, 'count', count)
    if int(begun_age) then put(session, 'begun', fmt(ago(begun_age)) .. ' ' .. begun_id) end
    put(session, 'scope', scope_name)
    if name ~= '' then
      put(session, 'name', name)
      put(session, 'named_by_project', named_by_project)
    end
    if project ~= '' then put(session, 'project', project) end
    if label ~= '' then put(session, 'label', label) end
    put(session, 'host', host)
    put(session, 'pid', pid)
    put(session, 'client', client)
    put(session, 'seen', fmt(ago(seen_age)))
  end
  if session_kind == 'own' and woken == '1' then
    put(session, 'woken', '1')
    local before = text(s[3])
    -- Told twice when the first answer was lost.
    if note ~= '' and not string.find('\n' .. before .. '\n', '\n' .. note .. '\n', 1, true) then
      local all = before ~= '' and before .. '\n' .. note or note
      put(session, 'note', string.sub(all, -LONGEST_NOTES))
    end
  end
end

---- the writes --------------------------------------------------------------------------------------------------
if #scope > 0 then
  redis.call('HSET', K_SCOPE, unpack(scope))
  if endless then
    redis.call('PERSIST', K_SCOPE)
  else
    redis.call('PEXPIRE', K_SCOPE, fmt(int(keep) + furthest - now))
  end
end
if #fleet > 0 then redis.call('HSET', K_FLEET, unpack(fleet)) end
if #session > 0 then
  redis.call('HSET', K_SESSION, unpack(session))
  redis.call('PEXPIRE', K_SESSION, fmt(30 * DAY + math.max(0, till and till - now or 0)))
end
-- A member is named by its time there, so that it counts once however often it is told.
for i = 1, count_of(admitted) do
  local at, member = ago(ARGV[ADMITTED_ARGS + 2 * i - 2]), ARGV[ADMITTED_ARGS + 2 * i - 1]
  if K_SCOPE_QUOTA then redis.call('ZADD', K_SCOPE_QUOTA, fmt(at), member) end
  if K_FLEET_QUOTA then redis.call('ZADD', K_FLEET_QUOTA, fmt(at), member) end
end
if count_of(admitted) > 0 then
  if K_SCOPE_QUOTA then redis.call('PEXPIRE', K_SCOPE_QUOTA, fmt(32 * DAY)) end
  if K_FLEET_QUOTA then redis.call('PEXPIRE', K_FLEET_QUOTA, fmt(32 * DAY)) end
end
return { born }
