--- Parts of a suggestion's text: how much "the next word" and "the next line" are. Knows nothing of buffers.

local M = {}

---@alias tersely.Part "all"|"word"|"line"

-- Bytes from 128 on are parts of letters in UTF-8, and belong to words.
local WORD = "^%s*[%w_\128-\255]+"
local SIGNS = "^%s*[^%w_%s\128-\255]+"

--- The beginning of `text` that a key takes. Never empty, unless `text` is.
---@param text string
---@param part tersely.Part
---@return string
function M.take(text, part)
  if part == "word" then
    return text:match(WORD) or text:match(SIGNS) or text
  end
  if part == "line" then
    -- A suggestion that begins with a line's end gives that and the whole line behind it.
    return text:match("^\n*[^\n]+") or text
  end
  return text
end

return M
