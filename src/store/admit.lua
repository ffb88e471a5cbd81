-- One step: an event's effects, the decision, and the journal entry, all or nothing.
-- The projection of src/throttle/model.rs and effects.rs; tests/model_and_script.rs keeps the two equal.
-- Runs on Lua 5.1 (Redis) and 5.4 (Dragonfly): whole numbers only, every key from KEYS, no globals.
-- Without arguments it answers `ready` and touches nothing: a command that only looks finds out whether the server runs it.
if #ARGV == 0 then return 'ready' end
local now = (function(t) return math.floor(tonumber(t[1])) * 1000 + math.floor(tonumber(t[2]) / 1000) end)(redis.call('TIME'))

local unpack = table.unpack or unpack
local event, held_fence, paced, host_ms, host, r, id, scope_name, session_name, name, label,
  rest_kind, rest_lasting, rest_topic, failure, reset_at, reset_after, too_long, cure, pid, note,
  event_name, detail, fleet_name, store_name, journal_max, keep,
  min_interval, burst_limit, window, base, factor, max, jitter, calm,
  api_base, api_factor, api_max, known_born, held_by_whom, held_for, hold_after, shadow, window_limits,
  client, claim, at_once, of_key, spread_step, spread_cold, left_fence, named_by_project, project, replaces = unpack(ARGV)
local QUOTA_ARGS = 55

local HIGHEST_FENCE, HIGHEST_QUOTA, MOST_STRIKES, DAY = 999999999999999, 10000, 1000, 86400000
local MOST_COUNTED, LONGEST_NOTES = 1000000000, 8000
local HOUR, DOUBLINGS = 3600000, 3
local renews = event == 'renew'
if renews then event = 'ask' end
local sleeps = event == 'sleep'
if sleeps then event = 'end' end
-- The client's prompt with which the turn of an admission begins.
local of_admission = event == 'admission_prompt'
if of_admission then event = 'client_prompt' end
local stop = event == 'stop' or event == 'resume' or event == 'ask'
local asks = stop or event == 'compact'
local of_fleet = event == 'hold_fleet' or event == 'release_fleet'
local of_holds = of_fleet or event == 'hold' or event == 'release'

-- a stored or given whole number, or nil
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

host_ms, r, journal_max, keep = int(host_ms), int(r), int(journal_max), int(keep)
min_interval, burst_limit, window, calm = int(min_interval), int(burst_limit), int(window), int(calm)
base, factor, max, jitter = int(base), int(factor), int(max), int(jitter)
api_base, api_factor, api_max = int(api_base), int(api_factor), int(api_max)

-- the quotas: a count, then limit and period of each; the scope's first, then the fleet's
local at = QUOTA_ARGS
local function quotas()
  local list, longest = {}, 0
  for _ = 1, int(ARGV[at]) do
    local quota = { limit = int(ARGV[at + 1]), per = int(ARGV[at + 2]) }
    list[#list + 1] = quota
    longest = math.max(longest, quota.per)
    at = at + 2
  end
  at = at + 1
  return list, longest
end
local scope_quotas, scope_longest = quotas()
local fleet_quotas, fleet_longest = quotas()

local K_JOURNAL, K_SESSION, K_SCOPE, K_FLEET = KEYS[1], KEYS[2], KEYS[3], of_fleet and KEYS[3] or KEYS[4]
local K_SCOPE_QUOTA = #scope_quotas > 0 and KEYS[5]
local K_FLEET_QUOTA = #fleet_quotas > 0 and KEYS[#scope_quotas > 0 and 6 or 5]
local begins = event == 'stop' or event == 'resume' or event == 'failure'
local raises = begins or event == 'prompt' or event == 'client_prompt' or event == 'end'
-- The last key, for those that an engine may have to hear of.
local K_WAKE = (event == 'wake' or (raises and (not begins or paced == '1'))) and KEYS[#KEYS]
local K_BELL = of_holds and KEYS[#KEYS]

-- A length that starts later than now starts now and keeps its length.
local function rebase(start, stop_at)
  if start and start > now then
    return now, stop_at and now + math.max(0, stop_at - start), true
  end
  return start, stop_at, false
end

-- Whether the bang window counts every attempt, and not only those that meet the guard closed.
local by_window = min_interval == 0 or window_limits == '1'

local function grown(first, by, most, strikes)
  local len = first
  for _ = 2, strikes do
    if len >= most then break end
    len = math.floor(len * by / 1000)
  end
  return math.min(len, most)
end

-- the key's limit and the release slots, as the fleet's hash has them; and what is to be written to that
local key, fleet = {}, {}

-- the answer, filled in as it is decided
local answer = { outcome = 'record', reason = 'event', attempts = 0, strikes = 0, changed = '0', by = '', why = '',
  count = 0, note = '', renewed = '0', born = '', fleet = '' }
local function refuse(reason, left)
  answer.outcome, answer.reason, answer.left = 'refuse', reason, left
end

local function put_limit(from, till)
  key.limit_start, key.limit_end = from, till
  put(fleet, 'limit_start', fmt(from))
  put(fleet, 'limit_end', fmt(till))
end
local function read_limit()
  local moved
  local from, till = int(key.limit_start), int(key.limit_end)
  if not till then from = nil end
  if till and not from then from = math.min(now, till) end
  key.limit_start, key.limit_end, moved = rebase(from, till)
  if moved then put_limit(key.limit_start, key.limit_end) end
end

---- the fleet: who knows it by another name has something to tell first, and nothing is decided before that --------
local fleet_now, born, lost = nil, nil, nil
if stop then
  fleet_now = redis.call('HMGET', K_FLEET, 'born', 'hold_reason', 'hold_by', 'hold_since', 'hold_until', 'quota_keep',
    'lost', 'hold_at_once', 'limit_start', 'limit_end', 'answered', 'slot_from', 'slot_next', 'freed_at', 'at_once')
  key = { hold_at_once = fleet_now[8] == '1', limit_start = fleet_now[9], limit_end = fleet_now[10],
    answered = int(fleet_now[11]), slot_from = int(fleet_now[12]), slot_next = int(fleet_now[13]),
    freed_at = int(fleet_now[14]), at_once = int(fleet_now[15]) }
  read_limit()
  born, lost = text(fleet_now[1]), int(fleet_now[7])
  if lost and lost > now then
    lost = now
    put(fleet, 'lost', fmt(now))
  end
  local known = known_born == '' or known_born == born
  if born == '' then
    born = id
    put(fleet, 'born', id)
  end
  if not known then
    if not lost then put(fleet, 'lost', fmt(now)) end
    if #fleet > 0 then redis.call('HSET', K_FLEET, unpack(fleet)) end
    return { 'refuse', 'lost', '', '0', '0', '', '0', fmt(now), '', '', '0', '', '0', born, '', '', '', '', '', '', '' }
  end
end

---- the session -----------------------------------------------------------------------------------------------
local s = of_holds and {} or redis.call('HMGET', K_SESSION, 'fence', 'name', 'label', 'rest', 'rest_since',
  'rest_until', 'rest_topic', 'woken', 'last_reason', 'note', 'count', 'pid', 'given', 'begun', 'held_by', 'held_reason',
  'by_person', 'client', 'host', 'scope', 'state', 'slot', 'named_by_project', 'project')
local fence, woken, last_reason, notes, count = int(s[1]), s[8] == '1', text(s[9]), text(s[10]), count_of(s[11])
local given, was_held_by, was_held_why = text(s[13]), text(s[15]), text(s[16])
local begun_at, begun_id = string.match(text(s[14]), '^(%d+) (.*)$')
begun_at = int(begun_at)
local session = {}
local by_person, slot = s[17] == '1', int(s[22])
local function put_slot(at)
  if slot ~= at then put(session, 'slot', fmt(at)) end
  slot = at
end
local RESTS = { rest = true, done = true, blocked = true, wait_for = true, parked = true }
local rest = s[4] and RESTS[s[4]] and { kind = s[4], since = count_of(s[5]), till = int(s[6]), topic = text(s[7]) } or nil
local stored_name, stored_label, stored_scope = text(s[2]), text(s[3]), text(s[20])

---- whose session it is -------------------------------------------------------------------------------------------
local function process(x)
  x = text(x)
  return (string.find(x, '^%d+$') or string.find(x, '^%d+:%d+:%d+$')) and x or ''
end
-- Both may be one process: the same number, and the same start and namespace where both are known.
local function may_be(a, b)
  local pid = string.match(a, '^%d+')
  return pid == string.match(b, '^%d+') and (a == b or a == pid or b == pid)
end
local owner, is_here, is_over = process(s[18]), text(s[19]) == host, s[21] == 'ended' or s[21] == 'asleep'
local is_owners = owner ~= '' and client ~= '' and is_here and may_be(client, owner)
local relation = 'own'
if owner ~= '' and client ~= '' and not is_owners and not of_holds
  and event ~= 'ask' and event ~= 'wake' and event ~= 'expired' then
  relation = claim
  if claim == 'yield' and is_here then
    if #fleet > 0 then redis.call('HSET', K_FLEET, unpack(fleet)) end
    return { 'refuse', 'contested', '', '0', '0', '', '0', fmt(now), '', '', '0', '', '0', '', '', '', owner, '', '', '', '' }
  elseif claim == 'yield' then
    relation = raises and event ~= 'end' and 'take' or 'beside'
  end
end
local beside, takes = relation == 'beside', relation == 'take'
-- A viewer of an open session does not move it.
local moves = not beside
  and (takes or raises or event == 'ask' or stored_scope == '' or is_over)
local registers = event == 'start' and not beside and (moves or stored_scope == scope_name)
-- The label is of the window that the session left.
if not registers then label = takes and '' or stored_label end

-- An ask holds a fence; a stop or failure is known by its id, and if it is told late, by how long ago it was told first.
local superseded, told = beside and stop, false
local age = begins and int(held_fence)
if beside then
  -- Nothing of it concerns the session.
elseif event == 'ask' or event == 'expired' then
  held_fence = count_of(held_fence)
  if fence and fence > held_fence then
    superseded = true
  elseif event == 'ask' then
    fence = held_fence
    put(session, 'fence', fmt(fence))
  end
elseif event == 'resume' and (not begun_at or begun_id ~= id) then
  superseded = fence and fence > count_of(left_fence) or false
elseif begins and begun_at then
  if begun_id == id then
    told = true
  elseif age and begun_at <= now and begun_at > now - age then
    superseded = true
  end
end
local function joined(before, more)
  if more == '' then return before end
  local all = before ~= '' and before .. '\n' .. more or more
  while #all > LONGEST_NOTES do
    local line_end = string.find(all, '\n', 1, true)
    if not line_end then break end
    all = string.sub(all, line_end + 1)
  end
  return all
end

if event == 'wake' then
  put(session, 'woken', '1')
  put_slot(at_once ~= '1' and 0 or nil)
  if note ~= '' then put(session, 'note', joined(notes, note)) end
elseif event == 'expired' and not superseded then
  put(session, 'state', 'expired')
  answer.reason = 'waiter_expired'
elseif not of_holds and not superseded and not beside then
  if raises and not told then
    put(session, 'begun', fmt(now - (age or 0)) .. ' ' .. (begins and id or ''))
    if begins and given ~= '' then
      given = ''
      put(session, 'given', '')
    end
    put_slot(age and paced == '1' and 0 or nil)
    if by_person ~= (event == 'prompt') then put(session, 'by_person', event == 'prompt' and '1' or '') end
    fence = math.min(math.max(fence and fence + 1 or 0, host_ms), HIGHEST_FENCE)
    put(session, 'fence', fmt(fence))
  end
  local rest_before = rest
  if rest then
    local moved
    rest.since, rest.till, moved = rebase(rest.since, rest.till)
    if moved then rest_before = false end
  end
  local lasting = rest and rest.kind ~= 'parked' and (not rest.till or rest.till > now)
  local booked = (event == 'stop' or event == 'resume') and rest_kind ~= ''
  if told then
    booked = false
  elseif booked and not (rest_kind == 'parked' and lasting) then
    local length = int(rest_lasting)
    rest = { kind = rest_kind, since = now, till = length and now + length, topic = rest_topic }
  elseif event == 'prompt' or event == 'end' then
    rest = nil
  elseif (event == 'client_prompt' or (event == 'stop' and not booked)) and rest and rest.kind == 'parked' then
    rest = nil
  end
  if event == 'prompt' and count > 0 then
    count = 0
    put(session, 'count', '0')
  end
  -- What came before is in the rest that it asks for: a person keeps the time to cancel.
  if event == 'resume' and not told and woken then
    woken = false
    put(session, 'woken', '')
  end
  if stop and woken then rest = nil end
  if rest ~= rest_before then
    put(session, 'rest', rest and rest.kind or '')
    put(session, 'rest_since', rest and fmt(rest.since) or '')
    put(session, 'rest_until', rest and fmt(rest.till) or '')
    put(session, 'rest_topic', rest and rest.topic or '')
  end
  if registers and is_over then
    -- Opened again after its end: nothing runs, and nothing was refused.
    last_reason = ''
    put(session, 'begun', '')
    put(session, 'last_reason', '')
  end
  if label ~= stored_label then put(session, 'label', label) end
  if registers or name ~= '' then
    if name ~= stored_name then put(session, 'name', name) end
    local by_project = name ~= '' and named_by_project == '1' and '1' or ''
    if by_project ~= text(s[23]) then put(session, 'named_by_project', by_project) end
  end
  if project ~= text(s[24]) and (registers or text(s[24]) == '') then put(session, 'project', project) end
  if event ~= 'ask' then
    put(session, 'needs_you', event == 'needs_you' and '1' or '')
    put(session, 'state', event == 'end' and (sleeps and 'asleep' or 'ended') or '')
  end
  if begins and pid ~= text(s[12]) then put(session, 'pid', pid) end
  if event == 'end' then
    if owner ~= '' then put(session, 'client', '') end
  elseif event ~= 'ask' and client ~= '' and client ~= owner then
    -- What is known more exactly stays.
    local is_exact = string.find(client, ':', 1, true)
    if is_owners and is_exact or not is_owners and moves then put(session, 'client', client) end
  end
  if moves then
    put(session, 'scope', scope_name)
    put(session, 'host', host)
  end
  put(session, 'seen', fmt(now))
end

---- the scope -------------------------------------------------------------------------------------------------
local scope = {}
local own, other = event == 'compact' and 'compact' or 'stop', event == 'compact' and 'stop' or 'compact'
local admitted_at, attempts, cooldown_start, cooldown_end, strikes
local other_start, other_end
local hold, api_start, api_end, api_strikes, api_of_key, scope_released, scope_keep, taken, trips

local function unpacked(list)
  local times, changed = {}, false
  for word in string.gmatch(text(list), '%d+') do
    local t = int(word)
    if t and #times < MOST_STRIKES + DOUBLINGS then
      if t > now then t, changed = now, true end
      times[#times + 1] = t
    end
  end
  return times, changed
end
local function packed(times)
  local words = {}
  for i, t in ipairs(times) do words[i] = fmt(t) end
  return table.concat(words, ',')
end

local function put_hold_of(into, h)
  put(into, 'hold_reason', h and h.reason or '')
  put(into, 'hold_by', h and h.by or '')
  put(into, 'hold_since', h and fmt(h.since) or '')
  put(into, 'hold_until', h and fmt(h.till) or '')
end
local function put_hold() put_hold_of(scope, hold) end
-- What somebody opened: why is where a failure's cure is.
local function opened()
  return { reason = cure, by = held_by_whom, since = now, till = int(held_for) and now + int(held_for) }
end
local function hold_of(reason, by, since, till)
  -- Whatever is left of a hold holds: one without its start began now, one without its end has none.
  if text(reason) == '' and text(by) == '' and text(since) == '' then return nil, false end
  local h, moved = { reason = text(reason), by = text(by), since = int(since) or now, till = int(till) }, nil
  h.since, h.till, moved = rebase(h.since, h.till)
  return h, moved
end
local function holds(h) return h and (not h.till or h.till > now) end
-- Opens a hold in place of the one that stands, unless that one lasts longer and is not to be replaced; then it is answered.
local function open_in_place_of(h)
  local new = opened()
  if not holds(h) then return new end
  if replaces ~= '1' and new.till and (not h.till or h.till > new.till) then
    answer.by, answer.why, answer.fleet = h.by, h.reason, of_fleet and '1' or ''
    refuse('hold', h.till and h.till - now)
    return nil
  end
  answer.was = h
  return new
end

-- The end of the API cooldown, unless it was a reset time that was disproved since.
local function api_open()
  local disproved = api_of_key and key.answered and key.answered >= (api_start or 0)
  if api_end and api_end > now and not disproved then return api_end end
end

local function fail(api_row, api_holds)
  if too_long == '1' then
    -- The compact cooldown is the other class's here: a failure is no compaction.
    if other_end and other_end > now then
      other_end = now
      put(scope, other .. '_cooldown_end', fmt(now))
    end
  end
  -- A turn that a person began counts no strike and lengthens nothing by itself.
  if not by_person then
    api_row = failure == 'request' and math.min(api_row + 1, MOST_STRIKES) or 0
    put(scope, 'api_row', fmt(api_row))
  end
  if failure == 'person' or (not by_person and api_row > 3) then
    if holds(hold) and (hold.by ~= 'api' or by_person) then return end
    local booked = holds(hold) and hold.till or now
    if not by_person then
      api_holds = math.min(api_holds + 1, MOST_STRIKES)
      put(scope, 'api_holds', fmt(api_holds))
    end
    local till = math.max(booked, now + grown(30 * 60000, 2000, 240 * 60000, api_holds))
    hold = { reason = cure, by = 'api', since = now, till = till }
    put_hold()
    return
  end
  if not by_person then
    api_strikes = math.min(api_strikes + 1, MOST_STRIKES)
    put(scope, 'api_strikes', fmt(api_strikes))
  end
  local len = int(reset_after)
  if int(reset_at) then len = int(reset_at) - now end
  if len then
    len = math.max(math.min(len, 7 * DAY), api_base)
  elseif by_person and api_end and api_end > now then
    return
  else
    len = grown(api_base, api_factor, api_max, api_strikes)
  end
  local reset = int(reset_at) or int(reset_after)
  if not api_end or api_end < now + len then
    api_start, api_end, api_of_key = now, now + len, of_key == '1' and reset and true or false
    put(scope, 'api_start', fmt(api_start))
    put(scope, 'api_end', fmt(api_end))
    put(scope, 'api_of_key', api_of_key and '1' or '')
  end
end

if not superseded and (asks or event == 'failure' or event == 'release' or event == 'hold' or of_admission) then
  local f = redis.call('HMGET', K_SCOPE,
    own .. '_admitted_at', own .. '_attempts', own .. '_cooldown_start', own .. '_cooldown_end', own .. '_strikes',
    other .. '_admitted_at', other .. '_attempts', other .. '_cooldown_start', other .. '_cooldown_end',
    'hold_reason', 'hold_by', 'hold_since', 'hold_until',
    'api_start', 'api_end', 'api_strikes', 'api_row', 'api_holds', 'quota_keep', 'taken', 'trips', 'released',
    'api_of_key')
  local moved
  local function past(field, value)
    local t = int(value)
    if t and t > now then
      t = now
      put(scope, field, fmt(t))
    end
    return t
  end
  local function span(prefix, from, to)
    local a, b = int(from), int(to)
    if not b then return nil, nil end
    a, b, moved = rebase(a or math.min(now, b), b)
    if moved then
      put(scope, prefix .. '_start', fmt(a))
      put(scope, prefix .. '_end', fmt(b))
    end
    return a, b
  end
  admitted_at = past(own .. '_admitted_at', f[1])
  attempts, moved = unpacked(f[2])
  if moved then put(scope, own .. '_attempts', packed(attempts)) end
  cooldown_start, cooldown_end = span(own .. '_cooldown', f[3], f[4])
  strikes = count_of(f[5])
  past(other .. '_admitted_at', f[6])
  local others, other_moved = unpacked(f[7])
  if other_moved then put(scope, other .. '_attempts', packed(others)) end
  other_start, other_end = span(other .. '_cooldown', f[8], f[9])
  hold, moved = hold_of(f[10], f[11], f[12], f[13])
  if moved then put_hold() end
  api_start, api_end = span('api', f[14], f[15])
  api_strikes = count_of(f[16])
  local api_row, api_holds = count_of(f[17]), count_of(f[18])
  scope_keep = count_of(f[19])
  -- Up to a second ahead while another store may still admit what was asked of it.
  taken = int(f[20])
  if taken and taken > now + 1000 then taken = past('taken', f[20]) end
  scope_released, api_of_key = int(f[22]), f[23] == '1'
  trips, moved = unpacked(f[21])
  if moved then put(scope, 'trips', packed(trips)) end

  if event == 'hold' then
    local new = open_in_place_of(hold)
    if new then
      hold = new
      put_hold()
    end
  elseif event == 'release' then
    if holds(hold) then answer.by, answer.why = hold.by, hold.reason end
    if hold then
      hold = nil
      put_hold()
    end
    put(scope, 'released', fmt(now))
    if api_end and api_end > now then
      answer.left, api_end = api_end - now, now
      put(scope, 'api_end', fmt(now))
    end
  elseif of_admission then
    if admitted_at and admitted_at < now then
      admitted_at = now
      put(scope, 'stop_admitted_at', fmt(now))
    end
  elseif event == 'stop' and not told then
    if key.limit_end and key.limit_start <= now - (age or 0) then
      put_limit(nil, nil)
      key.answered = now
      put(fleet, 'answered', fmt(now))
    end
    if api_strikes > 0 or api_row > 0 or api_holds > 0 then
      api_strikes = 0
      put(scope, 'api_strikes', '0')
      put(scope, 'api_row', '0')
      put(scope, 'api_holds', '0')
    end
    if hold and hold.by == 'api' then
      hold = nil
      put_hold()
      put(scope, 'released', fmt(now))
      scope_released = now
    end
  elseif event == 'failure' then
    if of_key == '1' then
      local k = redis.call('HMGET', K_FLEET, 'limit_start', 'limit_end', 'answered')
      key = { limit_start = k[1], limit_end = k[2], answered = int(k[3]) }
      read_limit()
    end
    if not told then
      fail(api_row, api_holds)
      local len = int(reset_after)
      if int(reset_at) then len = int(reset_at) - now end
      if of_key == '1' and len then
        len = math.max(math.min(len, 7 * DAY), api_base)
        if not key.limit_end or key.limit_end < now + len then put_limit(now, now + len) end
      end
    end
    local last = math.max(api_open() or now, hold and hold.till or now)
    if last > now then answer.left = last - now end
    answer.strikes = api_strikes
    if holds(hold) then answer.by, answer.why = hold.by, hold.reason end
  end
end

---- the whole fleet's hold ---------------------------------------------------------------------------------------
if of_fleet then
  local f = redis.call('HMGET', K_FLEET, 'hold_reason', 'hold_by', 'hold_since', 'hold_until', 'limit_start', 'limit_end',
    'hold_at_once')
  key = { limit_start = f[5], limit_end = f[6] }
  read_limit()
  local before, moved = hold_of(f[1], f[2], f[3], f[4])
  if event == 'hold_fleet' then
    local new = open_in_place_of(before)
    if new or moved then put_hold_of(fleet, new or before) end
    if new and (f[7] == '1') ~= (at_once == '1') then put(fleet, 'hold_at_once', at_once == '1' and '1' or '') end
  else
    if holds(before) then answer.by, answer.why, answer.fleet = before.by, before.reason, '1' end
    if before then put_hold_of(fleet, nil) end
    put(fleet, 'released', fmt(now))
    if key.limit_end then
      if key.limit_end > now then answer.left = key.limit_end - now end
      put_limit(nil, nil)
      put(fleet, 'answered', fmt(now))
    end
    if at_once == '1' then put(fleet, 'at_once', fmt(now)) end
  end
end
if (event == 'hold' or event == 'hold_fleet') and answer.outcome ~= 'refuse' then
  answer.left, answer.by, answer.why, answer.fleet = int(held_for), held_by_whom, cure, of_fleet and '1' or ''
end

---- the ask ---------------------------------------------------------------------------------------------------
local quota_puts = {}

-- Entries later than now are read as now and rewritten; no quota is larger than the bound of that loop.
local function quota_left(key, list)
  local newest = redis.call('ZRANGE', key, '-1', '-1', 'WITHSCORES')
  if newest[2] and math.floor(tonumber(newest[2])) > now then
    local entries = redis.call('ZRANGE', key, fmt(-HIGHEST_QUOTA), '-1', 'WITHSCORES')
    for i = 1, #entries, 2 do
      if math.floor(tonumber(entries[i + 1])) > now then redis.call('ZADD', key, fmt(now), entries[i]) end
    end
  end
  local left
  for _, quota in ipairs(list) do
    local nth = fmt(-quota.limit)
    local entry = redis.call('ZRANGE', key, nth, nth, 'WITHSCORES')
    local frees = entry[2] and math.floor(tonumber(entry[2])) + quota.per - now
    if frees and frees > 0 then left = math.max(left or 0, frees) end
  end
  return left
end
-- A step told again bears the id of its first telling.
local function quota_add(key, kept)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', fmt(now - kept))
  redis.call('ZADD', key, fmt(now), fmt(now) .. '-' .. id .. (told and '-' .. fmt(count) or ''))
  redis.call('PEXPIRE', key, fmt(kept + DAY))
end

-- What the session's agent is told when it goes on. Of its API's errors it has been told already.
local function remember()
  if answer.by == 'api' then return end
  if answer.by ~= was_held_by then put(session, 'held_by', answer.by) end
  if answer.why ~= was_held_why then put(session, 'held_reason', answer.why) end
end

-- Notes a trip; enough of them within a day turn the cooldown into a hold, which doubles with each.
local function willy_comes()
  local after = int(hold_after)
  if after == 0 then return nil end
  local kept = {}
  for _, t in ipairs(trips) do
    if t > now - DAY then kept[#kept + 1] = t end
  end
  kept[#kept + 1] = now
  while #kept > math.min(after, MOST_STRIKES) + DOUBLINGS do table.remove(kept, 1) end
  put(scope, 'trips', packed(kept))
  if #kept < after then return nil end
  local length = grown(HOUR, 2000, 8 * HOUR, #kept - after + 1)
  hold = { reason = 'cooldown number ' .. fmt(#kept) .. ' within a day', by = 'willy', since = now, till = now + length }
  put_hold()
  answer.by, answer.why, answer.fleet = hold.by, hold.reason, ''
  remember()
  return length
end

-- How long until the session's release slot, or nil when it may go on. The first goes at once, each later one a step after
-- the one before it and up to 40 % of a step by chance; and a gap of 70 % holds whatever the machines are late by.
local function slot_left()
  if not slot then return nil end
  local since = begins and not told and now - (age or 0) or begun_at
  if since and key.at_once and since <= key.at_once then return nil end
  local step = int(since and now - since > 300000 and spread_cold or spread_step)
  local next_slot = math.max(now, key.slot_from and key.slot_from <= now and key.slot_next or now)
  if slot == 0 or slot > next_slot then
    local by_chance = math.floor(math.floor(step * 2 / 5) * r / 1000000)
    put(fleet, 'slot_from', fmt(now))
    put(fleet, 'slot_next', fmt(next_slot + step))
    put_slot(next_slot > now and next_slot + by_chance or now)
  end
  if slot > now then return slot - now end
  local opens = key.freed_at and key.freed_at <= now and key.freed_at + math.floor(step * 7 / 10) or now
  if opens > now then return opens - now end
end

-- How long the API refuses the scope. What frees others too, the session waits for with a slot.
local function api_left()
  local limit = key.limit_end
  if limit and (limit <= now or (scope_released and scope_released >= key.limit_start)) then limit = nil end
  local own = api_open()
  if not own and not limit then return nil end
  if limit or api_of_key then put_slot(0) end
  return math.max(own or now, limit or now) - now
end

-- Opens a cooldown, empties the window, and tells how long it lasts.
local function trip()
  strikes = math.min(strikes + 1, MOST_STRIKES)
  local len = grown(base, factor, max, strikes)
  len = len + math.floor(math.floor(len * jitter / 1000) * r / 1000000)
  cooldown_start, cooldown_end = now, now + len
  put(scope, own .. '_strikes', fmt(strikes))
  put(scope, own .. '_cooldown_start', fmt(now))
  put(scope, own .. '_cooldown_end', fmt(now + len))
  put(scope, own .. '_attempts', '')
  answer.strikes = strikes
  return len
end

-- What an admission does to its session, and tells its agent.
local function hand_out()
  if woken then put(session, 'woken', '') end
  if slot then
    put_slot(nil)
    put(fleet, 'freed_at', fmt(now))
  end
  if notes ~= '' then
    given = joined(given, notes)
    put(session, 'given', given)
    put(session, 'note', '')
  end
  count = math.min(count + 1, MOST_COUNTED)
  put(session, 'count', fmt(count))
  answer.count, answer.note = count, given
  if rest and (not rest.till or rest.till > now) then
    answer.renewed = '1'
  elseif rest then
    for _, field in ipairs({ 'rest', 'rest_since', 'rest_until', 'rest_topic' }) do put(session, field, '') end
    rest = nil
  end
  if answer.renewed == '0' and was_held_by ~= '' then
    answer.by, answer.why = was_held_by, was_held_why
    put(session, 'held_by', '')
    put(session, 'held_reason', '')
  end
end

-- One function of Lua 5.1 may use 60 names from without.
local function decide()
  local fleet_hold, fleet_keep
  if stop then
    local f = fleet_now
    fleet_keep = count_of(f[6])
    answer.born = born
    -- What it was admitted before the data was lost is not known.
    if lost and not admitted_at and not taken then
      taken = lost
      put(scope, 'taken', fmt(taken))
    end
    local moved
    fleet_hold, moved = hold_of(f[2], f[3], f[4], f[5])
    if moved then
      put(fleet, 'hold_since', fmt(fleet_hold.since))
      put(fleet, 'hold_until', fmt(fleet_hold.till))
    end
  end
  if strikes > 0 and (not cooldown_end or now >= cooldown_end + calm) then
    strikes = 0
    put(scope, own .. '_strikes', '0')
  end
  if burst_limit > 0 then
    for _, t in ipairs(attempts) do
      if t > now - window then answer.attempts = answer.attempts + 1 end
    end
  end
  answer.strikes = strikes

  -- 1. a hold of the scope or its fleet
  if stop then
    local first, second = holds(hold) and hold, holds(fleet_hold) and fleet_hold
    local by = first or second
    if by then
      local till = by.till
      if first and second then till = first.till and second.till and math.max(first.till, second.till) end
      answer.by, answer.why, answer.fleet = by.by, by.reason, first and '' or '1'
      remember()
      if second and not key.hold_at_once then put_slot(0) end
      return refuse('hold', till and till - now)
    end
  end
  -- 2. an open cooldown
  if cooldown_end and cooldown_end > now then return refuse('cooldown', cooldown_end - now) end
  if stop then
    -- 3. an open API cooldown
    local left = api_left()
    if left then
      answer.strikes = api_strikes
      return refuse('api_error', left)
    end
    -- 4. a rest
    if rest and not renews and (not rest.till or rest.till > now) then return refuse(rest.kind, rest.till and rest.till - now) end
  end
  -- 5. the guard; only a paced ask that meets it closed leaves no mark
  local guard = admitted_at and admitted_at + min_interval - now or 0
  local change = stop and taken and taken + math.max(1, min_interval, by_window and window or 0) - now or 0
  guard = math.max(guard, change)
  if paced == '1' then
    local left = guard
    local noted = by_window and min_interval > 0 and burst_limit > 0 and attempts[#attempts - math.max(burst_limit - 1, 1) + 1]
    if noted then left = math.max(left, noted + window - now) end
    if left > 0 then
      -- A change of store closes the guard of many scopes at once.
      if change > 0 then put_slot(0) end
      return refuse('min_interval', left)
    end
    local slot_in = stop and slot_left()
    if slot_in then return refuse('spread', slot_in) end
  end
  if burst_limit > 0 then
    local kept = {}
    for _, t in ipairs(attempts) do
      if t > now - window then kept[#kept + 1] = t end
    end
    kept[#kept + 1] = now
    while #kept > burst_limit do table.remove(kept, 1) end
    attempts = kept
    answer.attempts = #kept
    -- 6. the bang window
    if (guard > 0 or by_window) and #kept >= burst_limit then
      local len = trip()
      local held = stop and willy_comes()
      if held then return refuse('hold', held) end
      return refuse('burst', len)
    end
    put(scope, own .. '_attempts', packed(kept))
  end
  -- 7. the guard again
  if guard > 0 then return refuse('min_interval', guard) end
  -- 8. the quotas
  if stop then
    local a = K_SCOPE_QUOTA and quota_left(K_SCOPE_QUOTA, scope_quotas)
    local b = K_FLEET_QUOTA and quota_left(K_FLEET_QUOTA, fleet_quotas)
    if a or b then return refuse('quota', math.max(a or 0, b or 0)) end
    -- Kept as long as the longest period that anybody asked with: a shorter one must not forget what another counts.
    local function keep_for(into, stored, longest)
      local kept = math.min(math.max(stored, longest), 31 * DAY)
      if kept ~= stored then put(into, 'quota_keep', fmt(kept)) end
      return kept
    end
    if K_SCOPE_QUOTA then
      quota_puts[#quota_puts + 1] = { K_SCOPE_QUOTA, keep_for(scope, scope_keep, scope_longest) }
    end
    if K_FLEET_QUOTA then
      quota_puts[#quota_puts + 1] = { K_FLEET_QUOTA, keep_for(fleet, fleet_keep, fleet_longest) }
    end
    hand_out()
  end
  -- 9. admitted
  local probes = cooldown_start and (not admitted_at or admitted_at <= cooldown_start)
  answer.outcome, answer.reason = 'admit', probes and 'probe' or 'admitted'
  put(scope, own .. '_admitted_at', fmt(now))
  if not by_window and burst_limit > 0 then put(scope, own .. '_attempts', fmt(now)) end
end

if superseded then
  refuse('superseded', nil)
elseif asks then
  decide()
  if stop and last_reason ~= answer.reason then
    answer.changed = '1'
    put(session, 'last_reason', answer.reason)
  end
end

---- the writes: the guard and the quotas first, so that whatever fails later has not admitted too much --------
if #scope > 0 then
  redis.call('HSET', K_SCOPE, unpack(scope))
  if hold and not hold.till then
    redis.call('PERSIST', K_SCOPE)
  else
    local furthest = math.max(now, cooldown_end or now, other_end or now, api_end or now, hold and hold.till or now)
    redis.call('PEXPIRE', K_SCOPE, fmt(keep + furthest - now))
  end
end
for _, quota in ipairs(quota_puts) do quota_add(quota[1], quota[2]) end
if #fleet > 0 then redis.call('HSET', K_FLEET, unpack(fleet)) end
if #session > 0 then
  redis.call('HSET', K_SESSION, unpack(session))
  redis.call('PEXPIRE', K_SESSION, fmt(30 * DAY + math.max(0, rest and rest.till and rest.till - now or 0)))
end

-- What a waiting engine listens to; it also looks by itself every few seconds, so that a failure costs no verdict.
local function ring(key, what)
  redis.pcall('XADD', key, 'MAXLEN', '16', '*', 'event', what)
  redis.pcall('PEXPIRE', key, fmt(DAY))
end
if K_WAKE and not superseded and not beside then ring(K_WAKE, event) end
if K_BELL then ring(K_BELL, event) end

---- the journal; one that cannot be written does not stop the verdict ------------------------------------------
local STATUS = { admitted = 'RESTARTING', probe = 'RESTARTING', cooldown = 'COOLDOWN', burst = 'COOLDOWN',
  api_error = 'COOLDOWN', hold = 'HOLD', rest = 'RESTING', done = 'RESTING', blocked = 'RESTING',
  wait_for = 'RESTING', parked = 'RESTING', min_interval = 'STANDING_DOWN', spread = 'STANDING_DOWN', quota = 'STANDING_DOWN',
  superseded = 'STANDING_DOWN' }
local function stamp()
  local days = math.floor(now / DAY)
  local secs = math.floor((now - days * DAY) / 1000)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04.0f%02.0f%02.0f_%02.0f%02.0f%02.0f', year, month, day,
    math.floor(secs / 3600), math.floor(secs / 60) % 60, secs % 60)
end
local aside = shadow == '1'
local going_on = stop and answer.outcome == 'admit' and not aside
local entry = {
  'timestamp', stamp(),
  'window', label ~= '' and label or scope_name ~= '' and scope_name or fleet_name,
  'status', stop and not aside and (STATUS[answer.reason] or 'STANDING_DOWN') or 'RECORDED',
  'next_action', going_on and 'CLAUDE_CODE_RESTART' or 'NONE',
  'infrastructure_mode', 'GUARDED_CONTINUOUS',
  'v', '1',
  'scope', scope_name,
  'fleet', fleet_name,
  'session', session_name,
  'event', event_name,
  'verdict', answer.outcome,
  'reason', answer.reason,
  'retry_after_ms', fmt(answer.left),
  'attempts', fmt(answer.attempts),
  'strikes', fmt(answer.strikes),
  'store', store_name,
  'degraded', '0',
  'host', host,
}
if aside then put(entry, 'mode', 'shadow') end
if detail ~= '' then put(entry, 'detail', detail) end
local added = redis.pcall('XADD', K_JOURNAL, 'MAXLEN', '~', fmt(journal_max), '*', unpack(entry))
local unjournaled = type(added) == 'table' and added.err and '1' or ''

if beside and not superseded then fence = nil end
return { answer.outcome, answer.reason, fmt(answer.left), fmt(answer.attempts), fmt(answer.strikes), fmt(fence),
  answer.changed, fmt(now), answer.by, answer.why, fmt(answer.count), answer.note,
  answer.renewed, answer.born, answer.fleet, unjournaled, '',
  text(answer.was and answer.was.by), text(answer.was and answer.was.reason),
  answer.was and fmt(answer.was.since) or '', answer.was and fmt(answer.was.till) or '' }
