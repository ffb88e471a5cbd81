-- Counts each session's admitted continuations in one page of the journal, so that only the counts are sent.
-- KEYS[1] the journal. ARGV: the newest id that is read, the oldest time, how many entries at most, the fleet.
-- Returns how many entries were read, the id of the last, and then each session with its count.
local since = tonumber(ARGV[2])
local found = redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local counts = {}
for _, entry in ipairs(found) do
  local fields = entry[2]
  local goes_on, ours, session = false, false, nil
  local decided = since
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'next_action' then
      goes_on = fields[i + 1] == 'CLAUDE_CODE_RESTART'
      if not goes_on then
        break
      end
    elseif name == 'fleet' then
      ours = fields[i + 1] == ARGV[4]
    elseif name == 'session' then
      session = fields[i + 1]
    elseif name == 'ms' then
      -- A shipped entry arrived later than it was decided.
      decided = tonumber(fields[i + 1]) or since
    end
  end
  if goes_on and ours and session and decided >= since then
    counts[session] = (counts[session] or 0) + 1
  end
end
local answer = { tostring(#found), #found > 0 and found[#found][1] or '' }
for session, count in pairs(counts) do
  answer[#answer + 1] = session
  answer[#answer + 1] = tostring(math.floor(count))
end
return answer
