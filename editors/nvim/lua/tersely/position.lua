--- Columns: Neovim's bytes into the protocol's units and back. Knows nothing of buffers.

local M = {}

--- Units before byte `col` of `line`.
---@param line string
---@param col integer bytes
---@param encoding string "utf-8", "utf-16" or "utf-32"
---@return integer
function M.to_character(line, col, encoding)
  local before = line:sub(1, col)
  if encoding == "utf-8" then
    return #before
  end
  return encoding == "utf-16" and vim.fn.strutf16len(before, 1) or vim.fn.strchars(before)
end

--- The byte where unit `character` of `line` begins; the line's end for one past it.
---@param line string
---@param character integer
---@param encoding string
---@return integer
function M.to_col(line, character, encoding)
  if encoding == "utf-8" then
    return math.min(character, #line)
  end
  local col = vim.fn.byteidxcomp(line, character, encoding == "utf-16" and 1 or 0)
  return col < 0 and #line or col
end

return M
