-- Journal entries of a time when no server was reachable: appended in order, each once.
-- KEYS: the journal, the position in a machine's journal. ARGV: MAXLEN, the lifetime of the position, then for each
-- entry the offset of its end, the number of its words, and the words (fields and values).
local K_JOURNAL, K_SHIPPED = KEYS[1], KEYS[2]
local unpack = table.unpack or unpack
local function int(x)
  if type(x) == 'string' and #x <= 15 and string.find(x, '^%d+$') then return math.floor(tonumber(x)) end
end
local before = int(redis.call('GET', K_SHIPPED)) or 0
local reached, at = before, 3
while ARGV[at] do
  local ends, words = int(ARGV[at]), int(ARGV[at + 1])
  if ends > reached then
    local entry = {}
    for i = 1, words do entry[i] = ARGV[at + 1 + i] end
    -- The position comes first: an entry may be lost with a server, and none is appended twice.
    redis.call('SET', K_SHIPPED, string.format('%.0f', ends), 'PX', ARGV[2])
    if words > 0 then
      local added = redis.pcall('XADD', K_JOURNAL, 'MAXLEN', '~', ARGV[1], '*', unpack(entry))
      if type(added) == 'table' and added.err then
        redis.call('SET', K_SHIPPED, string.format('%.0f', reached), 'PX', ARGV[2])
        return redis.error_reply(added.err)
      end
    end
    reached = ends
  end
  at = at + 2 + words
end
return { string.format('%.0f', reached) }
