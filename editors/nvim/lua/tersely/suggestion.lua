--- A suggestion and the place in a buffer that it was made for: says whether what stands there still runs along it.

local position = require("tersely.position")

local api = vim.api

---@class tersely.Suggestion
---@field bufnr integer
---@field client_id integer
---@field item table the protocol's item
---@field text string with line ends as `\n`
---@field shown boolean whether the server was told that it is on screen
---@field private row integer where its range starts, from 0
---@field private col integer in bytes
---@field private before string what stood on the line before its range
---@field private tail string what stood in its range behind the cursor, and is replaced
---@field private after string what stood on the line behind its range
---@field private line_count integer
local Suggestion = {}
Suggestion.__index = Suggestion

---@param bufnr integer
---@param row integer
---@return string
local function line_at(bufnr, row)
  return api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ""
end

--- The cursor: row and byte column, from 0. Only the current window's counts.
---@return integer row
---@return integer col
local function cursor()
  local place = api.nvim_win_get_cursor(0)
  return place[1] - 1, place[2]
end

--- Make one from an item that was answered for the buffer as it is now, and the cursor as it is now.
---@param client vim.lsp.Client
---@param bufnr integer
---@param item table
---@return tersely.Suggestion
function Suggestion.new(client, bufnr, item)
  local row, col = cursor()
  local line = line_at(bufnr, row)
  local from, to = col, col
  if item.range then
    from = position.to_col(line, item.range.start.character, client.offset_encoding)
    to = math.max(col, position.to_col(line, item.range["end"].character, client.offset_encoding))
  end
  local text = type(item.insertText) == "table" and item.insertText.value or item.insertText
  return setmetatable({
    bufnr = bufnr,
    client_id = client.id,
    item = item,
    text = (text:gsub("\r\n?", "\n")),
    shown = false,
    row = row,
    col = math.min(from, col),
    before = line:sub(1, math.min(from, col)),
    tail = line:sub(col + 1, to),
    after = line:sub(to + 1),
    line_count = api.nvim_buf_line_count(bufnr),
  }, Suggestion)
end

--- How many of its bytes stand before the cursor; nil where it no longer belongs.
---@return integer?
function Suggestion:typed()
  if api.nvim_get_current_buf() ~= self.bufnr then
    return nil
  end
  local row, col = cursor()
  if row < self.row or (row == self.row and col < self.col) then
    return nil
  end
  if api.nvim_buf_line_count(self.bufnr) ~= self.line_count + row - self.row then
    return nil
  end
  if line_at(self.bufnr, self.row):sub(1, self.col) ~= self.before then
    return nil
  end
  if line_at(self.bufnr, row):sub(col + 1) ~= self.tail .. self.after then
    return nil
  end
  local typed = table.concat(api.nvim_buf_get_text(self.bufnr, self.row, self.col, row, col, {}), "\n")
  if not vim.startswith(self.text, typed) then
    return nil
  end
  return #typed
end

--- What is left of it behind the cursor; nil where nothing is, or it no longer belongs.
---@return string?
function Suggestion:rest()
  local typed = self:typed()
  if typed and typed < #self.text then
    return self.text:sub(typed + 1)
  end
end

--- Whether the cursor is on the line where it begins.
---@return boolean
function Suggestion:on_first_line()
  return cursor() == self.row
end

--- What of the rest has to be shown, and how: what it replaces may end it already.
---@param rest string
---@return string text
---@return "inline"|"overlay" how
function Suggestion:display(rest)
  if self.tail == "" then
    return rest, "inline"
  end
  if vim.endswith(rest, self.tail) then
    return rest:sub(1, #rest - #self.tail), "inline"
  end
  return rest, "overlay"
end

--- Put the beginning `text` of its rest into the buffer, and the cursor behind it. The last part also replaces what the
--- suggestion replaces. Both sides of it can be undone on their own.
---@param text string
---@return boolean whole whether that was the rest of it
function Suggestion:insert(text)
  local whole = text == self:rest()
  local row, col = cursor()
  local lines = vim.split(text, "\n", { plain = true })
  vim.cmd("let &g:undolevels = &g:undolevels")
  api.nvim_buf_set_text(self.bufnr, row, col, row, whole and col + #self.tail or col, lines)
  api.nvim_win_set_cursor(0, { row + #lines, #lines[#lines] + (#lines == 1 and col or 0) })
  vim.cmd("let &g:undolevels = &g:undolevels")
  return whole
end

--- UTF-16 units from its start to the cursor, as the protocol counts what was taken of it.
---@return integer
function Suggestion:taken()
  return vim.fn.strutf16len(self.text:sub(1, self:typed() or 0), 1)
end

return Suggestion
