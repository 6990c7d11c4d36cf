--- What both ways of showing have in common: what is asked, what is told, and taking a suggestion.

local client_of = require("tersely.client")
local part = require("tersely.part")
local position = require("tersely.position")

local api = vim.api

local M = {}

M.INVOKED, M.AUTOMATIC = 1, 2

---@class tersely.Asked
---@field bufnr integer
---@field row integer
---@field col integer
---@field tick integer

--- The place of the cursor, and the state of its buffer.
---@param bufnr integer
---@return tersely.Asked
function M.here(bufnr)
  local place = api.nvim_win_get_cursor(0)
  return { bufnr = bufnr, row = place[1] - 1, col = place[2], tick = api.nvim_buf_get_changedtick(bufnr) }
end

--- Whether nothing has changed since: same buffer, text and cursor, still in insert mode.
---@param asked tersely.Asked
---@return boolean
function M.still(asked)
  return api.nvim_get_mode().mode:sub(1, 1) == "i"
    and api.nvim_get_current_buf() == asked.bufnr
    and vim.deep_equal(M.here(asked.bufnr), asked)
end

--- The request's parameters for the cursor.
---@param client vim.lsp.Client
---@param asked tersely.Asked
---@param trigger integer
---@return table
function M.params(client, asked, trigger)
  local line = api.nvim_buf_get_lines(asked.bufnr, asked.row, asked.row + 1, false)[1] or ""
  return {
    textDocument = { uri = vim.uri_from_bufnr(asked.bufnr) },
    position = {
      line = asked.row,
      character = position.to_character(line, asked.col, client.offset_encoding),
    },
    context = { triggerKind = trigger },
  }
end

--- Tell the server that a suggestion is on screen, once.
---@param suggestion tersely.Suggestion
function M.shown(suggestion)
  local client = vim.lsp.get_client_by_id(suggestion.client_id)
  if client and not suggestion.shown then
    suggestion.shown = true
    client_of.notify(client, "textDocument/didShowCompletion", { item = suggestion.item })
  end
end

--- Put a part of a suggestion into the buffer, and tell the server. Returns whether all of it was taken; nil where it
--- no longer belongs.
---@param suggestion tersely.Suggestion
---@param kind tersely.Part
---@return boolean?
function M.take(suggestion, kind)
  local rest = suggestion:rest()
  if not rest then
    return nil
  end
  local whole = suggestion:insert(part.take(rest, kind))
  local client = vim.lsp.get_client_by_id(suggestion.client_id)
  if not client then
    return whole
  end
  local command = suggestion.item.command
  if not whole then
    local told = { item = suggestion.item, acceptedLength = suggestion:taken() }
    client_of.notify(client, "textDocument/didPartiallyAcceptCompletion", told)
  elseif command then
    local params = { command = command.command, arguments = command.arguments }
    client_of.request(client, "workspace/executeCommand", params, function() end, suggestion.bufnr)
  end
  return whole
end

return M
